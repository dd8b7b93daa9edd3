"""The man page that is installed with relay, made from the commands.

python -m tests.repository.manual          writes it down; `make docs` does it, too
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from relay import __version__
from relay.cli import application
from tests.repository.published.driver import parameters

PAGE = Path(__file__).parents[2] / "deploy/share/man/man1/relay.1"

_EXIT = {
    "0": "Yes, or done. Warnings of relay check are 0, too.",
    "1": "No, or something was found or could not be done.",
    "2": "A mistake in the call or in the configuration.",
    "130": "Interrupted by Ctrl-C.",
}
_VARIABLES = {
    "RELAY_CONFIG": "The configuration file, where -c is not given.",
    "NO_COLOR": "No colours on a terminal.",
}
_FILES = {
    "relay.yaml": "The configuration. relay init writes one, relay check explains it.",
    "relay.db": "The spool: what is received and not yet delivered, and the history.",
}


def commands() -> Iterator[tuple[str, Any]]:
    """Yield every command with its words, such as `relay events list`, in the order of the help."""
    yield from _below("relay", get_command(application()))


def _below(words: str, command: Any) -> Iterator[tuple[str, Any]]:
    for name, each in getattr(command, "commands", {}).items():
        yield from _below(f"{words} {name}", each)
    if not hasattr(command, "commands"):
        yield words, command


def page() -> str:
    """Return the page, in the macros of man(7)."""
    lines = [
        '.\\" Made from the commands by `make docs`.',
        f'.TH RELAY 1 "" "relay {__version__}" "User Commands"',
        *(".SH NAME", "relay \\- receive payment webhooks: check, verify, store, deliver"),
        *(".SH SYNOPSIS", ".B relay", "\\fICOMMAND\\fR [\\fIOPTIONS\\fR] [\\fIARGUMENTS\\fR]"),
        *(".SH DESCRIPTION", _roff(get_command(application()).help or "")),
        *(".PP", "Every command has", ".BR \\-\\-help ."),
        ".SH COMMANDS",
    ]
    for words, command in commands():
        lines += [f".SS {_roff(words)}", *_synopsis(words, command), *_described(command)]
    for heading, entries in (
        ("EXIT STATUS", _EXIT),
        ("ENVIRONMENT", _VARIABLES),
        ("FILES", _FILES),
    ):
        lines.append(f".SH {heading}")
        for name, meaning in entries.items():
            lines += [".TP", f".B {_roff(name)}", _roff(meaning)]
    return "\n".join([*lines, ""])


def _synopsis(words: str, command: Any) -> list[str]:
    arguments = []
    for each in command.params:
        if each.param_type_name == "argument":
            name = each.metavar or str(each.name).upper()
            name = name.strip("[].")
            many = "..." if each.nargs == -1 else ""
            named = f"\\fI{_roff(name)}\\fR{many}"
            arguments.append(named if each.required else f"[{named}]")
    return [f"\\fB{_roff(words)}\\fR " + " ".join(["[\\fIOPTIONS\\fR]", *arguments])]


def _described(command: Any) -> Iterator[str]:
    for paragraph in (command.help or "").split("\n\n"):
        text = " ".join(paragraph.split())
        example = text.removeprefix("Example: ")
        yield ".PP"
        if example == text:
            yield _roff(text)
        else:
            yield from ("Example:", ".PP", ".nf", ".RS 4", _roff(example), ".RE", ".fi")
    kinds = parameters(command)
    for each in command.params:
        if each.name != "help" and each.param_type_name == "option":
            names = sorted((*each.opts, *each.secondary_opts), key=len)
            text = ", ".join(f"\\fB{_roff(name)}\\fR" for name in names)
            if not each.is_flag:
                text += f" \\fI{_roff(kinds[each.name])}\\fR" + " ..." * each.multiple
            yield from (".TP", text, _roff(each.help or ""))


def _roff(text: str) -> str:
    """Return text for man(7): nothing in it is a request, an escape or a typographic hyphen."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "")
    return re.sub(r"^(?=[.'])", r"\\&", text)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
