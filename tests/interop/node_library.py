"""A library of npm behind a process that answers one line of JSON with another."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.harness.optional_tools import npm_install

#: `answer` is what a script defines: it takes a question, and returns what JSON may hold.
_LOOP = """
require("readline").createInterface({ input: process.stdin }).on("line", async (line) => {
  let said;
  try { said = await answer(JSON.parse(line)); } catch (error) { said = `failed: ${error}`; }
  console.log(JSON.stringify(said));
});
"""


class NodeLibrary:
    """Asks a running script."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin, self._stdout = process.stdin, process.stdout

    def ask(self, **question: object) -> Any:
        self._stdin.write(json.dumps(question) + "\n")
        self._stdin.flush()
        return json.loads(self._stdout.readline())


@contextmanager
def node_library(directory: Path, script: str, *packages: str) -> Iterator[NodeLibrary]:
    """Install packages and run a script beside them; skip, saying so, where npm is absent."""
    npm_install(directory, *packages)
    process = subprocess.Popen(
        ["node", "-e", script + _LOOP],
        cwd=directory,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield NodeLibrary(process)
    finally:
        process.kill()
        process.communicate()
