"""Whether the keys of a sender that speaks BI-SNAP fit together, and its access tokens."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from relay.config.settings import Endpoint
from relay.config.snap_sender import SnapSender
from relay.config.yaml_document import ConfigIssue, Location

_PATH: Final = re.compile(r"(?:/[A-Za-z0-9._~-]{1,64}){1,8}")
_UPWARD: Final = frozenset({".", ".."})
_CODE: Final = re.compile(r"[0-9]{2}")

_MIN_LIFE: Final = timedelta(minutes=1)
_MAX_LIFE: Final = timedelta(hours=24)

_WRITE_PATH: Final = "write the path that the sender appends, such as /v1.0/debit/notify"


def sender_issues(described: SnapSender, location: Location) -> Iterator[ConfigIssue]:
    """Yield what does not fit together in the description of a sender."""
    snap, place = described.snap, (*location, "snap")
    for path, code in snap.services.items():
        if not _is_path(path):
            yield ConfigIssue((*place, "services", path), _WRITE_PATH)
        elif not _CODE.fullmatch(code):
            message = 'write the two digits of the service, such as "56"'
            yield ConfigIssue((*place, "services", path), message)
    if not _is_path(snap.token_path):
        yield ConfigIssue((*place, "token_path"), _WRITE_PATH)
    if snap.signature == "asymmetric" and "token_path" in snap.model_fields_set:
        message = "has no meaning with asymmetric signatures, which hold no token; leave it out"
        yield ConfigIssue((*place, "token_path"), message, ((*place, "signature"),))
    elif snap.signature == "symmetric" and snap.token_path in snap.services:
        message = "is one of services, too; a request for a token is no message"
        yield ConfigIssue((*place, "token_path"), message, ((*place, "services"),))


def _is_path(text: str) -> bool:
    return _PATH.fullmatch(text) is not None and _UPWARD.isdisjoint(text.split("/"))


def token_issues(endpoint: Endpoint, location: Location) -> Iterator[ConfigIssue]:
    """Yield access tokens that are missing, or that nobody asks for."""
    described, tokens = endpoint.provider, (*location, "tokens")
    needs = ((*location, "provider"),)
    symmetric = isinstance(described, SnapSender) and described.snap.signature == "symmetric"
    if not symmetric:
        if endpoint.tokens is not None:
            message = (
                "only a sender of BI-SNAP with symmetric signatures asks for access tokens; leave"
                " it out"
            )
            yield ConfigIssue(tokens, message, needs)
        return
    if endpoint.tokens is None:
        if endpoint.secrets:
            message = (
                "this key is needed: the sender signs with an access token that it asks for first;"
                ' write {client_id: …, keys: ["${file:keys/sender.pem}"]}'
            )
            yield ConfigIssue(tokens, message, (*needs, (*location, "secrets")))
    elif not _MIN_LIFE <= endpoint.tokens.life <= _MAX_LIFE:
        yield ConfigIssue((*tokens, "life"), "write 1m to 24h; the standard's own is 15m", needs)
