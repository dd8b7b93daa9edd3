"""What could not be parsed is refused for the reason that it has, and is not quoted."""

import pytest
from aiohttp import http_exceptions

from relay.core.errors import Reason, Refusal
from relay.edge.error_answers import RejectingParser, refusal_of


def test_what_is_not_strict_keeps_its_reason() -> None:
    problem = Refusal(Reason.HEADERS_TOO_LARGE, "more than 64 fields")
    parser = RejectingParser(problem)
    with pytest.raises(http_exceptions.HttpProcessingError) as caught:
        parser.feed_data(b"GET / HTTP/1.1\r\n\r\n")
    assert refusal_of(caught.value) is problem
    parser.message_consumed()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (http_exceptions.LineTooLong(b"secret", 8190), Reason.HEADERS_TOO_LARGE),
        (http_exceptions.BadHttpMessage("Too many headers received"), Reason.BODY_MALFORMED),
        (http_exceptions.BadStatusLine("secret"), Reason.BODY_MALFORMED),
        (ValueError("secret"), Reason.BODY_MALFORMED),
        (None, Reason.BODY_MALFORMED),
    ],
)
def test_what_the_parser_refuses_is_not_quoted(error: Exception | None, reason: Reason) -> None:
    refusal = refusal_of(error)
    assert refusal.reason is reason
    assert "secret" not in str(refusal)
