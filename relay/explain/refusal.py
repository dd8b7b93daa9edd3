"""Walk a kept refusal through every step, by the present configuration.

It is judged as it was received, at the time of receipt. Of its header fields those alone are there
that a release needs, and its client is the one that was found then.
"""

import hashlib
from dataclasses import replace

from relay.config import Settings
from relay.core.errors import Reason, Refusal
from relay.core.redaction import NOTHING
from relay.core.request import Verification
from relay.core.secret import Mask
from relay.explain.steps import NO, NOTE, OK, Walk, Walker, walk_json
from relay.ingest.refusals import verifying_kept
from relay.spool.refusals import StoredRefusal


def explain_refusal(settings: Settings, stored: StoredRefusal) -> dict[str, object]:
    """Return the walk of a kept refusal in JSON, as `GET /api/v1/refusals/{id}/explain` answers it.

    Computes for up to a second; nothing is stored, sent or looked up.

    Raises:
        RelayError: the DNS cache cannot be read.
    """
    return refusal_walk_json(stored, walk_refusal(settings, stored))


def refusal_walk_json(stored: StoredRefusal, found: Walk) -> dict[str, object]:
    """Return the walk of a kept refusal as the command line prints it."""
    refused = stored.refused
    told: dict[str, object] = {
        "id": refused.id,
        "refused_as": refused.reason.value,
        "released_as": stored.released_as,
    }
    return told | walk_json(found)


def walk_refusal(settings: Settings, stored: StoredRefusal) -> Walk:
    """Return the steps of a kept refusal. Steps behind the one that refuses are run too.

    One that has been released would be accepted: it was. Its content is gone.

    Raises:
        RelayError: the DNS cache cannot be read.
    """
    return _RefusalWalker(settings, stored).walk()


class _RefusalWalker(Walker):
    def __init__(self, settings: Settings, stored: StoredRefusal) -> None:
        super().__init__(settings, stored.refused.head)
        self._stored = stored
        self._refused = stored.refused
        redaction = settings.redactions().get(stored.refused.endpoint, NOTHING)
        secrets = [*settings.every_secret(), *redaction.of(stored.refused.body).secrets]
        self._mask = Mask(secrets, stored.refused.head.headers)

    def walk(self) -> Walk:
        refused = self._refused
        self._history()
        if self._stored.released_as is not None:
            self._walk.endpoint = refused.endpoint
            return self._walk
        self._request()
        match = self._match()
        if match is None:
            return self._walk
        if match.endpoint.name != refused.endpoint:
            self._add_step("endpoint", NOTE, f"it was {refused.endpoint} then")
        self._method(match)
        self._add_step("client", OK, f"{refused.client.text}, by {refused.client.via.value}, then")
        self._allowlist(match.endpoint, refused.client)
        self._body()
        try:
            endpoint = verifying_kept(match.endpoint, refused)
        except Refusal as refusal:
            self._refuse("content", refusal)
        else:
            if match.endpoint.token:
                detail = f"a token, which is not kept; it fitted secrets.{refused.secret} then"
                self._add_step("received", NOTE, detail)
            verifying = replace(endpoint, token=False)
            self._signature(replace(match, endpoint=verifying), refused.client, refused.body)
        self._suggest_release(proxied=match.proxied)
        return self._walk

    def _history(self) -> None:
        """Record why it was refused, and what has become of it."""
        refused, stored = self._refused, self._stored
        detail = f": {refused.detail}" if refused.detail else ""
        times = f", {stored.times} times" if stored.times > 1 else ""
        at = f"{refused.head.received_at:%Y-%m-%d %H:%M:%S}Z"
        self._add_step("refused", NOTE, f"{refused.reason.value}{detail}; received {at}{times}")
        if stored.released_as is not None:
            detail = f"it is the event {stored.released_as} now, and its content went there"
            self._add_step("released", OK, detail)

    def _request(self) -> None:
        """Record what is kept of the request, and what cannot be judged since it is not."""
        head, body = self._head, self._refused.body
        mark = "?…" if head.query else ""
        self._add_step("request", NOTE, f"{head.method} {head.path}{mark}, {len(body)} bytes")
        kept = ", ".join(dict.fromkeys(name for name, _ in head.headers)) or "none"
        own = self._settings.forwarded_header
        self._add_step("kept", NOTE, f"header fields: {kept}")
        self._add_step(
            "not judged",
            NOTE,
            "every other header field, since it is not kept: not how the client was forwarded"
            f" ({own}), nor how the body was encoded",
        )
        if not head.query:
            self._add_step("not judged", NOTE, "a query, which is kept only where it is needed")

    def _body(self) -> None:
        body, limit = self._refused.body, self._settings.limits.body
        if len(body) > limit:
            detail = f"{len(body)} bytes; limits.body is {limit}"
            self._refuse("body", Refusal(Reason.BODY_TOO_LARGE, detail))
        else:
            self._add_step("body", OK, f"sha256 {hashlib.sha256(body).hexdigest()}")

    def _describe_proof(self, found: Verification) -> str:
        if self._refused.signature_fits and found.secret is None:
            return f"fitted secrets.{self._refused.secret} then"
        return super()._describe_proof(found)

    def _suggest_release(self, *, proxied: bool) -> None:
        """Suggest a release where it can succeed, and say why where it cannot."""
        refused = self._refused
        against = [step.name for step in self._walk.steps if step.result == NO]
        if against == ["allowlist"] and refused.signature_fits:
            said = "its signature fits: a release takes it, whatever its address; look at that"
        elif against:
            return
        elif self._walk.is_challenge:
            self._suggest("it is a challenge now, and no event, so it cannot be released")
            return
        elif proxied:
            self._suggest("it would be taken now; the endpoint passes on, so it cannot be released")
            return
        else:
            said = "it would be taken now"
        self._suggest(f"{said}: relay refusals release {refused.id}")
