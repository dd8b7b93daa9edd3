"""What stands in for aiohttp's parser once there is nothing more to parse, and why there is not."""

from typing import NoReturn

from aiohttp import http_exceptions

from relay.errors import Reason, Refusal


class _NotStrict(http_exceptions.BadHttpMessage):
    """What aiohttp's parser would raise, had it been given the bytes."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__("")
        self.refusal = refusal


class Unreadable:
    """Stands where the parser stood, and says why there is nothing more to parse."""

    def __init__(self, problem: Refusal) -> None:
        self._problem = problem

    def feed_data(self, _: bytes) -> NoReturn:
        raise _NotStrict(self._problem)

    def message_consumed(self) -> None:
        """No queue of parsed messages is kept here."""


def refusal_of(error: BaseException | None) -> Refusal:
    """Return why a request could not be parsed, by what aiohttp raised. It quotes nothing."""
    if isinstance(error, _NotStrict):
        return error.refusal
    # For too many fields aiohttp has no class of its own, only a message.
    if isinstance(error, http_exceptions.LineTooLong) or "Too many headers" in str(error):
        return Refusal(Reason.HEADERS_TOO_LARGE)
    # The parser's message quotes the request, which may hold a token: the class must do.
    return Refusal(Reason.BODY_MALFORMED, f"not HTTP: {type(error).__name__}")
