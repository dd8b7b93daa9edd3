"""What each request to one upstream shows of relay: header fields, and an Authorization.

Those that never change become lines once, when the upstream is made, and stand in each request, of
stored and of proxied deliveries alike. A token of OAuth2 is asked for anew each time
(`relay.delivery.tokens`). A sender's own field of a name that is written here is dropped: an
upstream that finds two would have to choose, and some choose the first.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

from relay.core.authorization import AUTHORIZATION, basic_credentials
from relay.core.header_fields import Owner, owner_of, plain
from relay.core.request import Headers
from relay.core.secret import Mask, Secret
from relay.delivery.oauth2 import Token

# What may not stand in a field (RFC 9110, 5.5). What is no ASCII is sent in Latin-1.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

# Relay writes these of each event.
_OF_THE_BODY = frozenset({"content-type", "content-length"})

#: A shorter secret may stand in an answer for another reason, and a sender reads its answers.
MIN_ECHOED = 8


class Tokens(Protocol):
    """Fetches the tokens of one client (`relay.delivery.tokens.TokenSource`)."""

    def good(self) -> Token | None:
        """Return the token that is good now, and see to the next one ahead of its end."""

    async def newer(self, within: float, than: Token | None = None) -> Token | None:
        """Return a token that is good and not `than`; None if there is none in these seconds."""

    def may_renew(self, refused: Token) -> bool:
        """Return whether it is worth asking for another, since an upstream refused this one."""

    def secrets(self) -> Iterable[Secret]:
        """Return every secret of it: those that are sent, and the tokens that were."""


class Credentials:
    """Header fields and Authorization for one upstream. Nothing of it prints.

    lines: those that never change, each with the line break before it.
    names: whose fields of a sender are dropped, as `relay.core.header_fields.plain` writes them.
    tokens: where they come from, if the Authorization is a token of OAuth2.
    """

    def __init__(
        self,
        headers: Mapping[str, Secret] | None = None,
        *,
        bearer: Secret | None = None,
        basic: tuple[str, Secret] | None = None,
        tokens: Tokens | None = None,
        public: Collection[str] = (),
    ) -> None:
        """Take header fields, and at most one kind of Authorization, which wins over a field.

        public: names of fields whose values are no secrets.

        Raises:
            ValueError: a field belongs to the connection or to relay, would end its line early, or
                is no Latin-1.
        """
        fields = dict(headers or {})
        self.tokens = tokens
        self._secrets = [value for name, value in fields.items() if name not in public]
        if bearer is not None:
            authorization = Secret(b"Bearer " + bearer.reveal())
            self._secrets.append(bearer)
        elif basic is not None:
            pair = basic_credentials(*basic)
            authorization = Secret(b"Basic " + pair.reveal())
            self._secrets += [basic[1], pair]
        else:
            authorization = None
        if authorization is not None or tokens is not None:
            fields = {name: fields[name] for name in fields if plain(name) != AUTHORIZATION}
        if authorization is not None:
            fields["Authorization"] = authorization
        own = {AUTHORIZATION} if tokens is not None else set()
        self.names = frozenset(own | {plain(name) for name in fields})
        self.lines = "".join(_line(name, value) for name, value in fields.items())
        self._mask: tuple[list[Secret], Mask] | None = None

    def secrets(self) -> list[Secret]:
        """Return every secret of these, the fetched tokens that may still be echoed included."""
        return [*self._secrets, *(self.tokens.secrets() if self.tokens is not None else ())]

    def hide(self, text: str) -> str:
        """Return what an upstream says to a sender, with these masked where it echoes them."""
        secrets = [each for each in self.secrets() if len(each.reveal()) >= MIN_ECHOED]
        if self._mask is None or self._mask[0] != secrets:
            self._mask = secrets, Mask(secrets, Headers())
        return self._mask[1].whole(text)


def _line(name: str, value: Secret) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError("this is no name of a header field")
    if owner_of(name) in {Owner.CONNECTION, Owner.RELAY} or plain(name) in _OF_THE_BODY:
        raise ValueError("this header field is written by relay itself")
    try:
        text = value.reveal().decode()
        text.encode("latin-1")
    except UnicodeError:
        # Without its cause, which repeats the value.
        raise ValueError("the value of a header field is no text in Latin-1") from None
    if _CONTROL.search(text):
        raise ValueError("the value of a header field holds a line break or another control")
    return f"\r\n{name}: {text}"
