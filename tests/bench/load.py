"""Load: `wrk` with requests that are never the same."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.machine import LOAD_CORE, pinned
from tests.bench.messages import Stock
from tests.bench.processes import NotInstalled

_SCRIPT: Final = Path(__file__).parent / "requests.lua"


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of wrk saw. Times are seconds.

    answered: requests that were answered 2xx. bad: those that were not.
    repeated: requests that had been sent before; more than none is a fault of the run.
    """

    answered: int
    bad: int
    seconds: float
    p50: float
    p99: float
    repeated: int


class Generator:
    """Sends the requests of one stock to one server, and remembers how many it has used."""

    def __init__(self, stock: Stock, port: int) -> None:
        self._stock = stock
        self._port = port
        self._used = 0

    def run(self, connections: int, seconds: int) -> Load:
        """Send for so long over so many connections, as fast as answers come.

        Raises:
            NotInstalled: there is no wrk.
        """
        if (wrk := shutil.which("wrk")) is None:
            raise NotInstalled("wrk: apt-get install wrk")
        argv = [wrk, "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
        argv += ["-s", str(_SCRIPT), f"http://127.0.0.1:{self._port}/"]
        with pinned(LOAD_CORE):
            ran = subprocess.run(
                argv, env=self._environ(), capture_output=True, text=True, check=False
            )
        found = re.search(r"^RESULT (.*)$", ran.stdout, re.MULTILINE)
        if found is None:
            raise RuntimeError(f"wrk said nothing: {ran.stdout}{ran.stderr}")
        seen = {name: int(value) for name, value in (x.split("=") for x in found[1].split())}
        self._used += seen["used"]
        return Load(
            answered=seen["requests"] - seen["refused"],
            bad=seen["refused"] + seen["broken"],
            seconds=seen["microseconds"] / 1e6,
            p50=seen["p50"] / 1e6,
            p99=seen["p99"] / 1e6,
            repeated=self._stock.repeated(self._used),
        )

    def _environ(self) -> dict[str, str]:
        mark = {} if self._stock.mark is None else {"BENCH_MARK": str(self._stock.mark)}
        first = self._used if mark else self._used % self._stock.count
        return {
            **os.environ,
            **mark,
            "BENCH_REQUESTS": str(self._stock.path),
            "BENCH_LENGTH": str(self._stock.length),
            "BENCH_FIRST": str(first),
        }
