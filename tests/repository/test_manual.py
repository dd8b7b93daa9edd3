"""Every command shows how it is used, and the man page and the shells know all of them."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from relay.cli import VERBS, application
from tests.repository import manual

SHARE = manual.PAGE.parents[2]
COMMANDS = dict(manual.commands())
#: What a shell asks is answered by the relay of this environment.
ENVIRON = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": "/nonexistent"}
CONFIG = "endpoints: [{name: midtrans}, {name: midtrans-snap}, {name: vipps}, {name: [a]}, b]\n"


@pytest.mark.parametrize("words", COMMANDS)
def test_the_help_of_a_command_ends_with_an_example(words: str) -> None:
    *_, last = COMMANDS[words].help.split("\n\n")
    assert last.startswith(f"Example: {words}"), "see CONTRIBUTING.md, a verb"
    typed = re.split(r"[|&]|2?>", last.removeprefix("Example: "))[0]
    command: Any = get_command(application())
    arguments = shlex.split(typed)[1:]
    context = command.make_context("relay", arguments)
    while hasattr(command, "resolve_command"):
        rest = [*context._protected_args, *context.args]
        name, command, arguments = command.resolve_command(context, rest)
        context = command.make_context(name, arguments, parent=context)


# ---- the man page ---------------------------------------------------------------------------


def test_the_man_page_is_current() -> None:
    # When this fails: make docs
    assert manual.PAGE.read_text(encoding="utf-8") == manual.page()


@pytest.mark.debian
def test_the_man_page_is_without_mistakes() -> None:
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed: the man page was NOT looked at")
    line = ["groff", "-man", "-ww", "-z", "-Tutf8", str(manual.PAGE)]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert done.stderr == ""


# ---- completion -----------------------------------------------------------------------------

_BASH = """
source {share}/bash-completion/completions/relay
COMP_WORDS=({words}) COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_relay_completion relay
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
# What zsh does with a function `_relay` on its path; `_arguments` and `_describe` need a terminal.
_ZSH = """
_arguments() {{ print -l -- "$@" }}
_describe() {{ print -l -- "$@" }}
_files() {{ }}
words=({words}) CURRENT=${{#words}}
source {share}/zsh/site-functions/_relay
"""
_FISH = """
source {share}/fish/vendor_completions.d/relay.fish
complete --do-complete '{line}'
"""


def _offered(shell: str, line: str, directory: Path) -> str:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed: its completion was NOT tried")
    (directory / "relay.yaml").write_text(CONFIG)
    text = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}[shell]
    words = " ".join(word or "''" for word in line.split(" "))
    options = ["--no-rcs"] if shell == "zsh" else ["--no-config"] if shell == "fish" else ["--norc"]
    done = subprocess.run(
        [shell, *options, "-c", text.format(share=SHARE, words=words, line=line)],
        cwd=directory,
        env={**ENVIRON, "HOME": str(directory)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout


@pytest.mark.debian
@pytest.mark.parametrize(
    ("line", "wanted", "unwanted"),
    [
        ("relay ", tuple(VERBS), ("--role",)),
        ("relay events req", ("requeue",), ("list",)),
        ("relay run --ro", ("--role",), ("--watch",)),
        ("relay run --role ", ("edge", "dispatch"), ("--watch",)),
        ("relay send str", ("stripe",), ("vipps",)),
        ("relay send -c none.yaml --endpoint ", (), ("midtrans", "rror")),
    ],
)
def test_bash_completes_what_there_is(
    line: str, wanted: tuple[str, ...], unwanted: tuple[str, ...], tmp_path: Path
) -> None:
    offered = set(re.findall(r"[\w-]+", _offered("bash", line, tmp_path)))
    assert set(wanted) <= offered
    assert not set(unwanted) & offered


@pytest.mark.debian
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_completes_names_of_the_configuration(shell: str, tmp_path: Path) -> None:
    said = _offered(shell, "relay send --endpoint mid", tmp_path)
    offered = set(re.findall(r"[\w-]+", said))
    assert {"midtrans", "midtrans-snap"} <= offered
    assert "vipps" not in offered


def test_completion_of_one_verb_imports_no_other() -> None:
    call = "import sys, relay.cli as c; c.sys.argv = ['relay']\ntry:\n c.main()\nfinally:\n"
    call += " sys.stderr.write(' '.join(sys.modules))"
    asked = {"COMP_WORDS": "relay version --f", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-c", call],
        env={**os.environ, **asked, "_RELAY_COMPLETE": "complete_bash"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["--format"]
    assert "relay.cli.output" in done.stderr.split()
    assert not {"relay.cli.events", "relay.cli.demo", "relay.config"} & set(done.stderr.split())
