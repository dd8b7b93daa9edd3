"""An answer reads the same whether aiohttp or we put it on the wire."""

from relay.core.clock import SystemClock
from relay.core.request import Ack
from relay.edge.answers import ReadyAnswers, closing_bytes, to_response


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


# ---- answers that are ready -----------------------------------------------------------------


def test_an_answer_is_rendered_once_a_second() -> None:
    ready = ReadyAnswers(SystemClock())
    found = ready.render(Ack(200, b"OK"), keep=True)
    head, _, body = found.partition(b"\r\n\r\n")
    assert head.split(b"\r\n")[0] == b"HTTP/1.1 200 OK"
    assert b"Connection" not in head
    assert body == b"OK"
    assert b"Connection: close" in ready.render(Ack(200, b"OK"), keep=False)
    assert b"\r\nAllow: GET\r\n" in ready.render(Ack(405, headers=(("Allow", "GET"),)), keep=True)


def test_an_answer_without_a_body_says_no_length() -> None:
    found = ReadyAnswers(SystemClock()).render(Ack(204, b"x", ""), keep=True)
    assert b"Content-" not in found
    assert found.endswith(b"\r\n\r\n")


def test_a_body_without_a_type_has_the_one_of_bytes() -> None:
    found = ReadyAnswers(SystemClock()).render(Ack(299, b"x", ""), keep=True)
    assert found.startswith(b"HTTP/1.1 299 \r\n")
    assert b"\r\nContent-Type: application/octet-stream\r\n" in found


def test_few_answers_are_kept_ready() -> None:
    ready = ReadyAnswers(SystemClock())
    for number in range(1000):
        ready.render(Ack(200, b"%d" % number), keep=True)
    ready.render(Ack(200, bytes(10_000)), keep=True)
    assert len(ready._ready) <= 256
    assert all(len(each) < 2048 for each in ready._ready.values())
