"""References to secrets: `${env:NAME}` and `${file:PATH}`, read and put in their places.

Only the places of secrets take references. What is nearly one is a mistake, because as a literal it
would be a secret that fits nothing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from relay.config.secret_text import WrittenOut
from relay.config.types import refuse_shell_path
from relay.config.yaml_document import ConfigIssue, Location, shown, shown_path
from relay.core.secret import Secret

MAX_SECRET_BYTES = 64 * 1024

#: What is said of a variable that is missing, for one who sets it in the same shell.
UNSET: Final = "is not set"
#: The same for a process that runs: its environment is that of its start.
UNSET_AT_START: Final = (
    "was not set when relay started, and cannot change while it runs; restart it, or use"
    " ${file:PATH} for what changes"
)

# Places of secrets; None matches any name or number.
_SECRETS: tuple[tuple[str | None, ...], ...] = (
    ("admin", "token"),
    ("admin", "read_token"),
    ("endpoints", None, "secrets", None),
    ("endpoints", None, "confirm", "key"),
    ("endpoints", None, "tokens", "keys", None),
    ("endpoints", None, "provider", "challenge", None, "secret"),
    ("upstreams", None, "signing_secrets", None),
    ("upstreams", None, "headers", None),
    ("upstreams", None, "auth", "bearer"),
    ("upstreams", None, "auth", "basic", "password"),
    ("upstreams", None, "auth", "oauth2", "client_secret"),
    ("spool", "dsn"),
    ("spool", "encrypt", None),
)
# Places of texts that may be secrets.
_TEXTS: tuple[tuple[str | None, ...], ...] = tuple(
    ("endpoints", None, "provider", "challenge", None, "when", *rest)
    for rest in (("is",), ("in", None), (None, "is"), (None, "in", None))
)
_REFERENCE = re.compile(r"\$\{(env|file):([^{}]+)\}")
_BEARER = re.compile(r"Bearer\s+(\$\{(?:env|file):[^{}]+\})", re.IGNORECASE)
_LIKE_REFERENCE = re.compile(r"\$\{[^{}]*\}")
# As a shell, or another file, spells a variable or a file.
_MISSPELLED = (
    (re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$([A-Z_][A-Z0-9_]*)"), "env"),
    (re.compile(r"\$?\{?\s*env\s*[:.]\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}?", re.IGNORECASE), "env"),
    (re.compile(r"\$?\{?\s*file\s*[:.]\s*([A-Za-z0-9_./-]+)\s*\}?", re.IGNORECASE), "file"),
    (re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_.]*)\s*\}\}|%([A-Z_][A-Z0-9_]*)%"), "env"),
)
# The beginning of a reference or a command that nothing has put in.
_UNFILLED = re.compile(r"\$[{(].*|\{\{.*\}\}|<%.*%>", re.DOTALL)
_PLACEHOLDER = Secret("stand-in")
# Where a mapping has names of the user's own for its secrets, and such a name.
_BY_NAME, _SAMPLE_NAME = "headers", "X-Api-Key"
# Places of fewer keys hold much besides secrets.
_DEEP = 3


def _places() -> str:
    *others, last = [
        ".".join(part or "*" for part in place).removesuffix(".*") for place in _SECRETS
    ]
    return f"{', '.join(others)} and {last}"


_ELSEWHERE = (
    f"only secrets are read from ${{env:NAME}} or ${{file:PATH}}, and they stand in {_places()}"
)


@dataclass(slots=True)
class Resolved:
    """Data with `Secret` in the places of secrets.

    literals: the places of secrets that are written out.
    """

    data: object = None
    literals: set[Location] = field(default_factory=set)
    issues: list[ConfigIssue] = field(default_factory=list)


def resolve(data: object, environ: Mapping[str, str], base: Path, unset: str = UNSET) -> Resolved:
    """Replace every reference. A secret that cannot be read is an issue, and a placeholder.

    unset: what is said of a variable that is not in `environ`.
    """
    resolver = _Resolver(environ, base, unset)
    resolver.result.data = resolver.walk(data, ())
    return resolver.result


class _Resolver:
    def __init__(self, environ: Mapping[str, str], base: Path, unset: str) -> None:
        self.result = Resolved()
        self._environ = environ
        self._base = base
        self._unset = unset

    def walk(self, data: object, location: Location) -> object:
        if isinstance(data, dict):
            return {key: self.walk(value, (*location, key)) for key, value in data.items()}
        if isinstance(data, tuple):
            return tuple(self.walk(value, (*location, at)) for at, value in enumerate(data))
        if not isinstance(data, str):
            return data
        if not _is_secret(location, data):
            if _LIKE_REFERENCE.search(data):
                whole = _REFERENCE.fullmatch(data)
                sample = shown(data) if whole else "${env:NAME}"
                message = _around(location, sample) or _ELSEWHERE
                self.result.issues.append(ConfigIssue(location, message))
            return data
        try:
            return self._secret(data, location)
        except ValueError as error:
            self.result.issues.append(ConfigIssue(location, str(error)))
            return _PLACEHOLDER

    def _secret(self, text: str, location: Location) -> Secret:
        reference = _REFERENCE.fullmatch(text)
        if reference is None:
            for spelled, kind in _MISSPELLED:
                if (named := spelled.fullmatch(text)) is not None:
                    name = next(each for each in named.groups() if each)
                    raise ValueError(f"write ${{{kind}:{shown(name)}}}")
            if _BY_NAME in location and (token := _BEARER.fullmatch(text)):
                raise ValueError(f'write auth: {{bearer: "{shown(token[1])}"}} in place of this')
            if _LIKE_REFERENCE.search(text) or _UNFILLED.fullmatch(text):
                raise ValueError("write ${env:NAME} or ${file:PATH} and nothing around it")
            if not text:
                raise ValueError("is empty; write ${env:NAME} or ${file:PATH}")
            self.result.literals.add(location)
            return WrittenOut(text)
        kind, name = reference.groups()
        return self._variable(name) if kind == "env" else self._file(name)

    def _variable(self, name: str) -> Secret:
        text = self._environ.get(name)
        if text is None and name != name.strip():
            raise ValueError(f"write ${{env:{shown(name.strip())}}}, without blanks")
        if text is None:
            raise ValueError(f"the environment variable {shown(name)} {self._unset}")
        # Bytes that are no UTF-8 come from the system in this form.
        value = _without_newline(text.encode(errors="surrogateescape"))
        if not value:
            raise ValueError(f"the environment variable {shown(name)} is empty")
        return Secret(value)

    def _file(self, name: str) -> Secret:
        refuse_shell_path(name)
        path = self._base / name
        if "\0" in name:
            raise ValueError(f"{shown_path(path)} cannot be the path of a file")
        try:
            if path.exists() and not path.is_file():
                raise ValueError(f"{shown_path(path)} is not a file")
            with path.open("rb") as file:
                value = file.read(MAX_SECRET_BYTES + 1)
        except OSError as error:
            raise ValueError(f"cannot read {shown_path(path)}: {error.strerror}") from None
        if len(value) > MAX_SECRET_BYTES:
            raise ValueError(f"{shown_path(path)} is larger than {MAX_SECRET_BYTES} bytes")
        value = _without_newline(value)
        if not value:
            raise ValueError(f"{shown_path(path)} is empty")
        return Secret(value)


def _without_newline(value: bytes) -> bytes:
    """Return the bytes without one newline at their end, which editors and shells add."""
    return value.removesuffix(b"\r\n" if value.endswith(b"\r\n") else b"\n")


def _is_secret(location: Location, text: str) -> bool:
    if any(_matches(location, shape) for shape in _SECRETS):
        return True
    is_reference = _LIKE_REFERENCE.search(text) is not None
    return is_reference and any(_matches(location, shape) for shape in _TEXTS)


def _around(location: Location, reference: str) -> str | None:
    """Return what to write at a place in which secrets stand further in; None at any other."""
    for shape in _SECRETS:
        inner = shape[len(location) :]
        is_list = inner == (None,) and location[-1:] != (_BY_NAME,)
        if not (is_list or (inner and len(location) >= _DEEP)):
            continue
        if not _matches(location, shape[: len(location)]):
            continue
        if is_list:
            return f'write a list: {location[-1]}: ["{reference}"]'
        path = [_SAMPLE_NAME if key is None else key for key in inner]
        sample = f'{": {".join(path)}: "{reference}"' + "}" * len(path)
        return f"write a mapping: {location[-1]}: {{{sample}"
    return None


def _matches(location: Location, shape: tuple[str | None, ...]) -> bool:
    return len(location) == len(shape) and all(
        want is None or want == part for want, part in zip(shape, location, strict=True)
    )
