"""A wire knows where an answer ends, and opens again what was closed."""

import socket
import threading

from tests.bench.wires import Wire

KEPT = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"
CLOSED = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def test_answers_are_told_apart_and_a_closed_connection_is_opened_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)

        def serve() -> None:
            for answers in ((KEPT, CLOSED), (KEPT,)):
                connection, _ = server.accept()
                with connection:
                    for answer in answers:
                        connection.recv(100)
                        for byte in (answer[:20], answer[20:]):
                            connection.sendall(byte)

        serving = threading.Thread(target=serve)
        serving.start()
        with Wire(server.getsockname()[1]) as wire:
            answered = [wire.ask(b"GET / HTTP/1.1\r\n\r\n") for _ in range(3)]
        serving.join()
    assert [(each.status, each.body) for each in answered] == [
        (200, b"OK"),
        (503, b""),
        (200, b"OK"),
    ]
