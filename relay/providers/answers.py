"""Map each result to the plain HTTP answer: of every provider but SNAP, whose answers are JSON.

Pure. The body of a refusal is empty: the reason goes to the operator's log, not to the sender.

The status decides how long a sender retries. Midtrans tries five more times after a code it
does not list, such as 401, 403 or 502, but only once after 500 and not at all after a redirect:
500 and 3xx are therefore never returned.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from relay.core.errors import Reason
from relay.core.request import Ack, IngestResult, Verdict
from relay.providers import AnswerContext

#: Refusals of the transport: the same status for every provider.
TRANSPORT_STATUSES: Final[Mapping[Reason, int]] = MappingProxyType(
    {
        Reason.UNKNOWN_ENDPOINT: 404,
        Reason.METHOD_NOT_ALLOWED: 405,
        Reason.HEADER_TIMEOUT: 408,
        Reason.BODY_TIMEOUT: 408,
        Reason.BODY_TOO_LARGE: 413,
        Reason.BODY_ENCODED: 415,
        Reason.HEADERS_TOO_LARGE: 431,
    }
)

_UNAVAILABLE: Final = 502

_REFUSED: Final[Mapping[Reason, int]] = MappingProxyType(
    {
        **TRANSPORT_STATUSES,
        Reason.PROXY_HEADER_INVALID: 400,
        Reason.BODY_MALFORMED: 400,
        Reason.FIELD_INVALID: 400,
        Reason.TIMESTAMP_INVALID: 400,
        Reason.SIGNATURE_MISSING: 401,
        Reason.SIGNATURE_MISMATCH: 401,
        Reason.TIMESTAMP_OUTSIDE_WINDOW: 401,
        Reason.FIELD_FOREIGN: 401,
        Reason.SOURCE_UNKNOWN: 403,
        Reason.SOURCE_NOT_ALLOWED: 403,
        Reason.FORWARDING_UNTRUSTED: 403,
        Reason.EVENT_CONFLICT: 409,
        # These are no fault of the sender: it is asked to come again.
        Reason.TOO_MANY_CONNECTIONS: _UNAVAILABLE,
        Reason.OVERLOAD: _UNAVAILABLE,
        Reason.CONFIRMATION_FAILED: _UNAVAILABLE,
    }
)

_VERDICTS: Final[Mapping[Verdict, int]] = MappingProxyType(
    {
        Verdict.ACCEPTED: 200,
        Verdict.DUPLICATE: 200,
        Verdict.PASSED: 200,
        Verdict.CHALLENGED: 200,
        Verdict.CONFLICT: 409,
        Verdict.UNAVAILABLE: _UNAVAILABLE,
    }
)


def plain_answer(result: IngestResult, methods: Sequence[str] = ()) -> Ack:
    """Return the answer for this result: `OK` for a success, an empty body otherwise.

    Equal answers are one object, made in advance.

    methods: those that the endpoint accepts, for `Allow` in the answer to another one.
    """
    if result.verdict is not Verdict.REFUSED:
        return _BY_VERDICT[result.verdict]
    # A refusal that nobody gave a reason for is our mistake, not the sender's.
    if result.reason is None:
        return _BY_VERDICT[Verdict.UNAVAILABLE]
    if result.reason is Reason.METHOD_NOT_ALLOWED and methods:
        return _method_not_allowed(tuple(methods))
    return _BY_REASON[result.reason]


class PlainAnswers:
    """The answers of an inspector whose provider reads the status alone.

    methods: those that the endpoint accepts.
    """

    methods: Sequence[str] = ()

    def answer(self, result: IngestResult, context: AnswerContext) -> Ack:  # noqa: ARG002 - the result says it all
        # Not by `plain_answer`, which is a call more for each delivery.
        if result.verdict is not Verdict.REFUSED:
            return _BY_VERDICT[result.verdict]
        return plain_answer(result, self.methods)

    def proxied_answer(self, answered: Ack, context: AnswerContext) -> Ack:  # noqa: ARG002 - it passes as it is
        return answered


@lru_cache(maxsize=64)
def _method_not_allowed(methods: tuple[str, ...]) -> Ack:
    # RFC 9110 wants Allow with this status.
    return Ack(_REFUSED[Reason.METHOD_NOT_ALLOWED], headers=(("Allow", ", ".join(methods)),))


_BY_STATUS: Final = {
    status: Ack(status, b"OK" if status == 200 else b"")  # noqa: PLR2004 - HTTP's own number
    for status in (*_REFUSED.values(), *_VERDICTS.values())
}
_BY_REASON: Final = {reason: _BY_STATUS[status] for reason, status in _REFUSED.items()}
_BY_VERDICT: Final = {verdict: _BY_STATUS[status] for verdict, status in _VERDICTS.items()}
