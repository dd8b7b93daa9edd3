"""Our own answers in place of aiohttp's error pages: to what cannot be parsed, and to faults."""

from typing import Any, NoReturn

from aiohttp import http_exceptions
from aiohttp.web import BaseRequest, StreamResponse
from aiohttp.web_protocol import RequestHandler

from relay.core.errors import Reason, Refusal
from relay.core.request import Address
from relay.edge.answers import to_response
from relay.edge.connections import ConnectionErrors

# ---- errors of the parser -------------------------------------------------------------------


class FramingError(http_exceptions.BadHttpMessage):
    """A refusal of `Framing` as an error of aiohttp's parser."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__("")
        self.refusal = refusal


class RejectingParser:
    """A parser of aiohttp's interface that raises `FramingError` whatever it is fed.

    It replaces a connection's parser once the framing is broken. What `Framing` refuses is never
    fed to the real one, and only an error of the parser makes aiohttp queue an error answer behind
    the answers of the requests before it, and close the connection after that.
    """

    def __init__(self, problem: Refusal) -> None:
        self._problem = problem

    def feed_data(self, _: bytes) -> NoReturn:
        raise FramingError(self._problem)

    def message_consumed(self) -> None:
        """Do nothing: no messages are queued in here."""


def refusal_of(error: BaseException | None) -> Refusal:
    """Return the refusal for an error of the parser, by its class: its text quotes the request.

    `Framing` refuses a head with too many fields before aiohttp, which has no class for that.
    """
    if isinstance(error, FramingError):
        return error.refusal
    if isinstance(error, http_exceptions.LineTooLong):
        return Refusal(Reason.HEADERS_TOO_LARGE)
    return Refusal(Reason.BODY_MALFORMED, f"not HTTP: {type(error).__name__}")


# ---- connections ----------------------------------------------------------------------------


class AnsweredErrors(RequestHandler):
    """aiohttp's connection, which answers its errors as `ConnectionErrors` says."""

    __slots__ = ()

    peer: Address
    _errors: ConnectionErrors

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp's own text is not shown
    ) -> StreamResponse:
        """Answer what could not be parsed (400) and what we failed at (500, 504)."""
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun; the connection can only be closed")
        if status == 400:  # noqa: PLR2004 - aiohttp's mark for a request it cannot parse
            ack = self._errors.refuse(self.peer, refusal_of(exc))
        else:
            ack = self._errors.fault(self.peer, exc)
        response = to_response(ack)
        response.force_close()
        # Said, because aiohttp answers what it could not parse in HTTP/1.0, where it goes unsaid.
        response.headers["Connection"] = "close"
        return response

    def log_exception(self, *_: Any, **kwargs: Any) -> None:  # noqa: ANN401 - aiohttp's own
        error = kwargs.get("exc_info")
        # The rest of a body that nobody wanted was malformed: its request has been answered.
        if not isinstance(error, Refusal):
            self._errors.fault(self.peer, error)
