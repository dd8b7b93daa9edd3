"""The service behind every server: nginx that answers at once and counts what it answered."""

import http.client
import re
import shutil
import time
from pathlib import Path
from typing import Final

from tests.bench.machine import LOAD_CORE
from tests.bench.processes import NotInstalled, Program, free_port
from tests.bench.rivals import filled

_PATIENCE: Final = 60.0
_LOOK: Final = 0.01


class Upstream:
    """The running upstream's count. One look at it is a request too, which is left out."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        self._looks = 0

    def count(self) -> int:
        """Return how many requests it has answered."""
        self._looks += 1
        self._connection.request("GET", "/count")
        text = self._connection.getresponse().read().decode()
        found = re.search(r"^\s*\d+\s+\d+\s+(\d+)", text, re.MULTILINE)
        if found is None:
            raise RuntimeError(f"the upstream does not say what it has counted: {text}")
        return int(found[1]) - self._looks

    def wait_for(self, count: int) -> float:
        """Return how many seconds it took until it had answered so many; infinity if never."""
        begin = time.perf_counter()
        while self.count() < count:
            if time.perf_counter() - begin > _PATIENCE:
                return float("inf")
            time.sleep(_LOOK)
        return time.perf_counter() - begin


def upstream_program(directory: Path) -> Program:
    """Return the program, which runs on the core of the load.

    Raises:
        NotInstalled: there is no nginx.
    """
    if (nginx := shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin")) is None:
        raise NotInstalled("nginx: apt-get install nginx")
    port = free_port()
    config = filled("upstream.conf", directory, PORT=str(port))
    return Program(
        "upstream",
        [nginx, "-e", directory / "upstream.log", "-c", config],
        port=port,
        core=LOAD_CORE,
        log=directory / "upstream.log",
    )
