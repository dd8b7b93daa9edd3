"""Answers, metrics and the source of log lines, as names and texts that stay the same."""

import ast
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.harness.wire import Reply
from tests.repository.published.shapes import shape

#: Times and lengths differ from run to run.
_VOLATILE = frozenset({"date", "content-length", "x-timestamp"})

#: Labels whose values the configuration, the version or the moment decides.
_FREE = frozenset(
    {"endpoint", "host", "listener", "provider", "secret", "status", "upstream", "version"}
)

_LEVELS = frozenset({"info", "warning", "error", "fault"})


def header_fields(reply: Reply) -> list[str]:
    """Return the header fields of an answer, sorted; of those that vary, the name alone."""
    fields = [each.partition(": ") for each in reply.head.split("\r\n")[1:] if each]
    return sorted(
        name if name.lower() in _VOLATILE else f"{name}: {value}" for name, _, value in fields
    )


def answer_text(reply: Reply, line: dict[str, Any]) -> str:
    """Return an answer in one line: verdict and reason, status, header fields, body.

    line: what the log says of it.
    """
    verdict = " ".join(line[name] for name in ("verdict", "reason") if name in line)
    fields = "; ".join(header_fields(reply))
    return f"{verdict or 'not logged'} | {reply.status} | {fields} | {_body(reply.body)}"


def _body(body: bytes) -> str:
    """Return a body; of JSON, only the response code and message keep their values."""
    try:
        said = json.loads(body)
    except ValueError:
        return body.decode()
    kept = {"responseCode", "responseMessage"}
    return json.dumps(
        {name: value if name in kept else shape(value) for name, value in said.items()}
    )


def described(reply: Reply) -> object:
    """Return type and shape of an answer of the admin listener."""
    kind = reply.value("Content-Type") or ""
    if not kind.startswith("application/json"):
        return kind
    return {kind: shape(json.loads(reply.body))}


def metric_names(text: str) -> dict[str, object]:
    """Return type and labels of each metric of relay, with the values of those that are closed."""
    found: dict[str, object] = {}
    for name, kind in re.findall(r"^# TYPE (relay_\w+) (\w+)$", text, re.MULTILINE):
        labels: dict[str, set[str]] = {}
        for told in re.findall(rf"^{name}(?:_\w+)?\{{(.*)\}} ", text, re.MULTILINE):
            for label, value in re.findall(r'(\w+)="([^"]*)"', told):
                labels.setdefault(label, set()).update(() if label in _FREE else {value})
        found[name] = {"type": kind, **{each: " ".join(sorted(labels[each])) for each in labels}}
    return found


def logging_calls(package: Path) -> Iterator[tuple[str, str, Iterable[str]]]:
    """Yield event, level and fields of each call that logs, from the source."""
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=log, attr=level),
                    args=[ast.Constant(value=str(event)), *_],
                    keywords=keywords,
                ) if level in _LEVELS and ast.unparse(log).endswith("log"):
                    names = [each.arg for each in keywords if each.arg is not None]
                    if level == "fault":
                        level, names = "error", [*names, "exception"]
                    yield event, level, names
