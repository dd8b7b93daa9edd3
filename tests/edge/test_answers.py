"""An answer reads the same whether aiohttp or we put it on the wire."""

from relay.core.request import Ack
from relay.edge.answers import closing_bytes, to_response


def test_an_ack_becomes_a_response() -> None:
    ack = Ack(405, b"no", "application/json", (("Allow", "POST"),))
    response = to_response(ack)
    assert (response.status, response.body) == (405, b"no")
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Allow"] == "POST"
    assert response.headers["Server"] == "relay"


def test_an_answer_without_a_type_names_none() -> None:
    assert "Content-Type" not in to_response(Ack(204, b"", "")).headers


def test_an_ack_becomes_bytes_that_end_a_connection() -> None:
    head, _, body = closing_bytes(Ack(408, b"late")).partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 408 Request Timeout"
    assert {b"Connection: close", b"Content-Length: 4", b"Server: relay"} <= set(lines)
    assert body == b"late"
