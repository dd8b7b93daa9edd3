"""From aiohttp's request to what the rest of the relay knows."""

from aiohttp.web import BaseRequest

from relay.model import Headers


def headers_of(request: BaseRequest) -> Headers:
    """Return the header fields as they came."""
    return Headers(
        tuple(
            [
                (name.decode("latin-1"), value.decode("latin-1"))
                for name, value in request.raw_headers
            ]
        )
    )
