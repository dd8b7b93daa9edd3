"""What this machine would refuse is told before it does, and by whom."""

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest

from relay.config import Bind, Settings
from relay.config.lint_machine import cannot_listen, machine_advice, port_advice
from tests.config.files import GOOD, good

IN_USE = os.strerror(errno.EADDRINUSE).lower()


@contextmanager
def listening(address: str = "127.0.0.1") -> Iterator[int]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as server:
        yield server.getsockname()[1]


def told(settings: Settings) -> list[tuple[str, str, str]]:
    return [
        (".".join(map(str, each.location)), each.code, each.message)
        for each in port_advice(settings)
    ]


def on(listen: str, admin: str = "127.0.0.1:0", more: str = "") -> Settings:
    text = GOOD.replace("127.0.0.1:8080", listen) + f'admin: {{bind: "{admin}"}}\n' + more
    return good(text)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_port_that_is_taken_is_told_with_who_has_it(address: str) -> None:
    shown = f"[{address}]" if ":" in address else address
    with listening(address) as port:
        said = f"{IN_USE}: {Path('/proc/self/comm').read_text().strip()} (process {os.getpid()})"
        said += f" has port {port}; stop that, or write another port"
        assert told(on(f"{shown}:{port}")) == [("listen.0.bind", "port-taken", said)]
        assert told(on("127.0.0.1:0", f"{shown}:{port}")) == [("admin.bind", "port-taken", said)]
        everywhere = "[::]" if ":" in address else "0.0.0.0"
        assert told(on(f"{everywhere}:{port}")) == [("listen.0.bind", "port-taken", said)]


def test_a_port_that_is_free_is_not() -> None:
    with listening() as port:
        pass
    assert told(on(f"127.0.0.1:{port}")) == []
    # IPv6 alone, as a listener of relay is.
    with listening() as port:
        assert told(on(f"[::]:{port}")) == []


def test_an_address_that_is_not_here() -> None:
    said = os.strerror(errno.EADDRNOTAVAIL).lower()
    said += ': this machine has no 192.0.2.1; "0.0.0.0" and "[::]" are all that it has'
    assert told(on("192.0.2.1:8080")) == [("listen.0.bind", "address-missing", said)]


def test_a_port_of_root_takes_a_capability() -> None:
    said = cannot_listen(errno.EACCES, Bind(ip_address("0.0.0.0"), 443))
    assert said.startswith(f"{os.strerror(errno.EACCES).lower()}: port 443 is below ")
    assert "CAP_NET_BIND_SERVICE, which the systemd unit in deploy/ gives" in said
    first = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if first <= 443:
        pytest.skip("here everybody may listen on any port")
    program = (
        "import os\n"
        "from relay.config.lint_machine import _error_of\n"
        "from relay.config import Bind\n"
        "from ipaddress import ip_address\n"
        "if os.geteuid() == 0: os.setuid(65534)\n"
        "print(_error_of(Bind(ip_address('127.0.0.1'), 443)).errno)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == (f"{errno.EACCES}\n", "")


def test_one_who_holds_a_port_and_cannot_be_seen() -> None:
    # Port 1 of this machine: nobody listens there.
    said = cannot_listen(errno.EADDRINUSE, Bind(ip_address("127.0.0.1"), 1))
    assert said == (
        f"{IN_USE}: a process that this user may not see (ss -ltnp as root shows it) has port 1;"
        " stop that, or write another port"
    )


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    spool = f"spool: {{path: {tmp_path}/relay.db}}\n"
    settings = on("127.0.0.1:0", more=spool)
    assert [*machine_advice(settings)] == []
    if os.geteuid() == 0:
        program = (
            "import os, sys\n"
            "from pathlib import Path\n"
            "from relay.config import load_text\n"
            "from relay.config.lint_machine import machine_advice\n"
            "settings = load_text(sys.argv[1], 'x', {'KEY': 'k'}, Path('/'))\n"
            "os.setuid(65534)\n"
            "for each in machine_advice(settings): print(each.location, each.code)\n"
        )
        text = GOOD.replace("127.0.0.1:8080", "127.0.0.1:0") + 'admin: {bind: "127.0.0.1:0"}\n'
        tmp_path.chmod(0o755)
        done = subprocess.run(
            [sys.executable, "-c", program, text + spool],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout == "('spool', 'path') not-writable\n", done.stderr
        return
    tmp_path.chmod(0o555)
    assert [each.code for each in machine_advice(settings)] == ["not-writable"]


def test_nothing_is_said_of_ports_that_a_running_relay_has() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    program = (
        "import socket, sys\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "print(server.getsockname()[1], flush=True)\n"
        "while True:\n"
        "    connection, _ = server.accept()\n"
        "    connection.recv(65536)\n"
        f"    connection.sendall({answer!r})\n"
        "    connection.close()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as relay:
        assert relay.stdout is not None
        port = int(relay.stdout.readline())
        settings = on("127.0.0.1:0", f"127.0.0.1:{port}")
        assert [each.code for each in port_advice(settings)] == ["port-taken"]
        assert [*machine_advice(settings)] == []
        relay.kill()
