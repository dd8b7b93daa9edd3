"""Runs `relay` commands for the recorder, with the interpreter of the relay that is recorded.

Reads one JSON request a line from standard input and writes one JSON answer a line. All of relay
is imported once; each command then runs in a fork, through the entry point that is installed. Of
relay's own names only `relay.cli.main` and `relay.cli.application` are used.
"""

import importlib
import inspect
import json
import os
import pkgutil
import sys
import tempfile
import typing
from collections.abc import Iterator
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Any


def main() -> None:
    import relay  # noqa: PLC0415 - of whichever environment this runs in

    for module in pkgutil.walk_packages(relay.__path__, "relay."):
        if module.name != "relay.__main__":
            importlib.import_module(module.name)
    for line in sys.stdin:
        request = json.loads(line)
        if request is None:
            said: Any = {"package": relay.__path__[0], "commands": dict(_commands())}
        else:
            said = _run(**request)
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()


def _run(words: list[str], directory: str, environ: dict[str, str]) -> dict[str, Any]:
    """Return exit code and output of one command, run in a fork."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            code = 70
            try:
                os.chdir(directory)
                os.environ.update(environ)
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                code = _enter(words)
            finally:
                with suppress(OSError, ValueError):
                    sys.stdout.flush()
                os._exit(code)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out.seek(0)
        err.seek(0)
        return {"code": status, "out": out.read().decode(), "err": err.read().decode()}


def _enter(words: list[str]) -> int:
    from relay.cli import main as entry  # noqa: PLC0415 - as above

    # What the parent still had to write is the parent's.
    sys.stdout = Path("/dev/fd/1").open("w", encoding="utf-8")  # noqa: SIM115 - until the exit
    sys.argv = ["relay", *words]
    try:
        entry()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _commands() -> Iterator[tuple[str, dict[str, str]]]:
    from typer.main import get_command  # noqa: PLC0415 - as above

    from relay.cli import application  # noqa: PLC0415 - as above

    yield from _below("relay", get_command(application()))


def _below(name: str, command: Any) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield a command and those below it, each with its parameters."""
    types = parameters(command)
    yield name, dict(_parameter(each, types.get(each.name, "bool")) for each in command.params)
    for each, sub in getattr(command, "commands", {}).items():
        yield from _below(f"{name} {each}", sub)


def parameters(command: Any) -> dict[str, str]:
    """Return the type of each parameter, by its name in our function."""
    # Types are read from there: how Typer keeps them differs from version to version.
    function = inspect.unwrap(command.callback) if command.callback else None
    types = typing.get_type_hints(function) if function else {}
    return {name: _type(kind) for name, kind in types.items() if name != "return"}


def _parameter(parameter: Any, kind: str) -> tuple[str, str]:
    """Return how a parameter is written, and its type, default and what else there is to it."""
    names = sorted([*parameter.opts, *parameter.secondary_opts])
    option = names[0].startswith("-")
    default = parameter.default
    words = [kind]
    if default not in (None, False, (), []):
        words.append(f"= {getattr(default, 'value', default)}")
    words += ["required"] * bool(parameter.required)
    words += ["repeatable"] * bool(getattr(parameter, "multiple", False) or parameter.nargs == -1)
    words += [f"${parameter.envvar}"] * bool(parameter.envvar)
    label = " ".join(names) if option else f"<{parameter.metavar or names[0].upper()}>"
    return label, " ".join(words)


def _type(kind: Any) -> str:
    """Return `text | json` for a choice, else the name of the type, without None and list."""
    (first, *_) = [each for each in typing.get_args(kind) or (kind,) if each is not type(None)]
    if isinstance(first, type) and issubclass(first, Enum):
        return " | ".join(str(each.value) for each in first)
    return _type(first) if typing.get_args(first) else str(first.__name__).lower()


if __name__ == "__main__":
    main()
