"""The command line. `python -m tests.fuzz --help` says what there is."""

import re
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Annotated

import typer

from tests.fuzz.targets import MODULES, target

#: Seconds that one input may take: far more than any needs, since machines can be busy.
_HANG = 20
_LONGEST = 4096
_MEMORY = 1024  # MiB
_UNITS = re.compile(r"stat::number_of_executed_units: +(\d+)")


def main(
    name: Annotated[str, typer.Argument(metavar="|".join([*MODULES, "all"]))],
    seconds: Annotated[int, typer.Option(min=1, help="How long, for each target.")] = 60,
    replay: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Try this one input.")
    ] = None,
) -> None:
    """Fuzz a target. Exit code 0: everything held. 1: a finding. 2: it could not be tried."""
    if name != "all" and name not in MODULES:
        raise typer.BadParameter(f"write one of {', '.join(MODULES)}, all")
    names = list(MODULES) if name == "all" else [name]
    if replay is not None:
        for each in names:
            target(each).check(replay.read_bytes())
            typer.echo(f"{each}: everything holds")
        return
    if find_spec("atheris") is None:
        typer.echo(
            "NOT FUZZED: atheris is not installed. `pip install -e '.[fuzz]'` does it where its"
            f" wheels fit this Python ({sys.version.partition(' ')[0]}).",
            err=True,
        )
        raise typer.Exit(2)
    clean = [_fuzz(each, seconds) for each in names]
    raise typer.Exit(0 if all(clean) else 1)


def _fuzz(name: str, seconds: int) -> bool:
    """Run one target, say what came of it, and tell whether everything held."""
    with TemporaryDirectory(prefix=f"relay-fuzz-{name}-") as work:
        seeds = Path(work, "seeds")
        seeds.mkdir()
        found = target(name)
        for number, seed in enumerate(found.SEEDS):
            Path(seeds, str(number)).write_bytes(seed)
        words = Path(work, "words")
        words.write_text("".join(_word(each) for each in found.WORDS))
        findings = Path(gettempdir(), f"relay-fuzz-{name}-")
        done = subprocess.run(
            [
                *(sys.executable, "-m", "tests.fuzz.engine", name, seeds, f"-dict={words}"),
                *(f"-max_total_time={seconds}", f"-max_len={_LONGEST}", f"-timeout={_HANG}"),
                *(f"-rss_limit_mb={_MEMORY}", f"-artifact_prefix={findings}"),
                "-print_final_stats=1",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
    said = done.stdout.decode(errors="replace")
    tried = _UNITS.search(said)
    if done.returncode or tried is None:
        typer.echo(said[-6000:], err=True)
        typer.echo(f"{name}: FOUND something, or did not run (exit code {done.returncode})")
        return False
    typer.echo(f"{name}: {int(tried[1]):,} inputs in {seconds} s, and everything held")
    return True


def _word(word: Sequence[int]) -> str:
    return '"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n'


if __name__ == "__main__":
    application = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    application.command()(main)
    application()
