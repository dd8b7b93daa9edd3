"""A real OAuth2 server (authlib) on loopback, and a service that takes its tokens.

Tokens are issued to clients (RFC 6749, 4.4), end by the clock that is handed in, can be revoked
(RFC 7009), and are checked by the service as any resource server does it (RFC 6750).
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl
from uuid import uuid4

from aiohttp import web
from authlib.oauth2 import OAuth2Error, OAuth2Request
from authlib.oauth2.rfc6749 import AuthorizationServer, ClientMixin, ResourceProtector, TokenMixin
from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc6750 import BearerTokenGenerator, BearerTokenValidator
from authlib.oauth2.rfc7009 import RevocationEndpoint

from relay.core.clock import Clock


@dataclass(slots=True)
class RegisteredClient(ClientMixin):
    """A client that may have tokens of these scopes."""

    client_id: str
    secret: str
    scopes: frozenset[str]

    def get_client_id(self) -> str:
        return self.client_id

    def get_allowed_scope(self, scope: str | None) -> str | None:
        asked = set((scope or "").split())
        return " ".join(sorted(asked)) if asked <= self.scopes else None

    def check_client_secret(self, client_secret: str) -> bool:
        return client_secret == self.secret

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == "client_secret_basic"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "client_credentials"


@dataclass(slots=True)
class IssuedToken(TokenMixin):
    """A token, and until when it is good, by the clock of its server."""

    client: RegisteredClient
    text: str
    scope: str
    ends_at: float
    clock: Clock
    revoked: bool = False

    def check_client(self, client: RegisteredClient) -> bool:
        return client is self.client

    def get_scope(self) -> str:
        return self.scope

    def is_expired(self) -> bool:
        return self.clock.monotonic() >= self.ends_at

    def is_revoked(self) -> bool:
        return self.revoked


class _HttpRequest(OAuth2Request):
    """A request as authlib takes it; the TLS that it asks for ended before this server."""

    def __init__(self, request: web.Request, form: Mapping[str, str]) -> None:
        super().__init__(request.method, f"https://{request.host}{request.path_qs}")
        self.headers = request.headers
        self.payload = BasicOAuth2Payload(dict(form))

    @property
    def form(self) -> Mapping[str, str]:
        data: Mapping[str, str] = self.payload.data
        return data


class _Server(AuthorizationServer):
    def __init__(self, owner: "OAuth2Server") -> None:
        super().__init__()
        self._owner = owner

    def query_client(self, client_id: str) -> RegisteredClient | None:
        return self._owner.clients.get(client_id)

    def save_token(self, token: Mapping[str, Any], request: OAuth2Request) -> None:
        self._owner.save(token, request.client)

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Nobody listens."""

    def create_oauth2_request(self, request: _HttpRequest) -> _HttpRequest:
        return request

    def handle_response(
        self, status: int, body: object, headers: list[tuple[str, str]]
    ) -> web.Response:
        return web.json_response(
            body, status=status, headers={n: v for n, v in headers if n != "Content-Type"}
        )


class _ClientCredentials(ClientCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic",)


class _Revocation(RevocationEndpoint):
    CLIENT_AUTH_METHODS = ("client_secret_basic",)
    owner: "OAuth2Server"

    def query_token(self, token_string: str, token_type_hint: str | None) -> IssuedToken | None:
        return self.owner.issued.get(token_string)

    def revoke_token(self, token: IssuedToken, request: OAuth2Request) -> None:
        token.revoked = True


class _Validator(BearerTokenValidator):
    def __init__(self, owner: "OAuth2Server") -> None:
        super().__init__()
        self._owner = owner

    def authenticate_token(self, token_string: str) -> IssuedToken | None:
        return self._owner.issued.get(token_string)


Say = Callable[[web.Request], Awaitable[web.StreamResponse]]


class OAuth2Server:
    """The server and the service, on one port: `/token`, `/revoke` and `/hooks`.

    clock: by which tokens end. lifetime: how many seconds that takes.
    issued: every token, by its text. taken: the tokens of requests that the service took.
    instead: answers a question for a token instead, where it is set.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        lifetime: int = 3600,
        scope: str = "billing.write",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.clients = {
            name: RegisteredClient(name, secret, frozenset(scope.split()))
            for name, secret in (("relay", "the-secret-of-relay"), ("a b:%+é", "ß/+ &%:é secret"))
        }
        self.lifetime = lifetime
        self.needed_scope = scope.split(maxsplit=1)[0]
        self.issued: dict[str, IssuedToken] = {}
        self.questions = 0
        self.taken: list[str] = []
        self.refused: list[str] = []
        self.instead: Say | None = None
        self._clock = clock
        self._tls = tls
        self._server = _Server(self)
        self._server.register_grant(_ClientCredentials)
        revocation = _Revocation(self._server)
        revocation.owner = self
        self._server.register_endpoint(revocation)
        self._server.register_token_generator(
            "default",
            BearerTokenGenerator(
                lambda **_: f"tok-{uuid4().hex}", expires_generator=lambda *_: self.lifetime
            ),
        )
        self._protector = ResourceProtector()
        self._protector.register_token_validator(_Validator(self))

    def save(self, token: Mapping[str, Any], client: RegisteredClient) -> None:
        text, scope = token["access_token"], token.get("scope", "")
        ends_at = self._clock.monotonic() + token["expires_in"]
        self.issued[text] = IssuedToken(client, text, scope, ends_at, self._clock)

    def revoke_all(self) -> None:
        """Revoke every token, as an administrator does."""
        for token in self.issued.values():
            token.revoked = True

    @property
    def token_url(self) -> str:
        return f"{self.url}/token"

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_post("/token", self._token)
        application.router.add_post("/revoke", self._revoke)
        application.router.add_post("/hooks", self._hooks)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls)
        await site.start()
        scheme = "http" if self._tls is None else "https"
        self.url = "{}://{}:{}".format(scheme, *self._runner.addresses[0][:2])
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._runner.cleanup()

    async def _token(self, request: web.Request) -> web.StreamResponse:
        self.questions += 1
        if self.instead is not None:
            return await self.instead(request)
        form = parse_qsl(await request.text(), strict_parsing=True)
        response: web.Response = self._server.create_token_response(
            _HttpRequest(request, dict(form))
        )
        return response

    async def _revoke(self, request: web.Request) -> web.StreamResponse:
        form = dict(parse_qsl(await request.text()))
        response: web.Response = self._server.create_endpoint_response(
            "revocation", _HttpRequest(request, form)
        )
        return response

    async def _hooks(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        try:
            token = self._protector.validate_request([self.needed_scope], _HttpRequest(request, {}))
        except OAuth2Error as error:
            self.refused.append(request.headers.get("Authorization", ""))
            status, body, headers = error()
            named = {name: value for name, value in headers if name != "Content-Type"}
            return web.json_response(body, status=status, headers=named)
        self.taken.append(token.text)
        return web.Response(text="OK")


def says(status: int, body: bytes, **headers: str) -> Say:
    """Answer a question for a token so."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, body=body, headers=headers)

    return answer


async def hangs(_: web.Request) -> web.Response:
    """Never answer."""
    await asyncio.Event().wait()
    raise AssertionError
