"""Secrets: `${env:NAME}` and `${file:PATH}` -> `Secret`, before anything else sees the values."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from relay.config.places import Fault, Place, shown, shown_path
from relay.secret import Secret

LARGEST_FILE = 64 * 1024

# Where secrets stand; None is any name or number.
_SECRETS: tuple[tuple[str | None, ...], ...] = (
    ("admin", "token"),
    ("endpoints", None, "secrets", None),
    ("upstreams", None, "signing_secrets", None),
    ("spool", "dsn"),
)
_REFERENCE = re.compile(r"\$\{(env|file):([^{}]+)\}")
_LOOKS_LIKE_ONE = re.compile(r"\$\{[^{}]*\}")
_ELSEWHERE = (
    "${env:NAME} and ${file:PATH} work only in admin.token, endpoints.*.secrets,"
    " upstreams.*.signing_secrets and spool.dsn; write the value itself"
)
_STAND_IN = Secret("stand-in")


@dataclass(slots=True)
class Resolved:
    """Data with `Secret` in the places of secrets.

    literals: the places of secrets that are written out.
    """

    data: object = None
    literals: set[Place] = field(default_factory=set)
    faults: list[Fault] = field(default_factory=list)


def resolve(data: object, environ: Mapping[str, str], base: Path) -> Resolved:
    """Replace every reference. A secret that cannot be had is a fault, and a stand-in."""
    resolver = _Resolver(environ, base)
    resolver.result.data = resolver.walk(data, ())
    return resolver.result


class _Resolver:
    def __init__(self, environ: Mapping[str, str], base: Path) -> None:
        self.result = Resolved()
        self._environ = environ
        self._base = base

    def walk(self, data: object, place: Place) -> object:
        if isinstance(data, dict):
            return {key: self.walk(value, (*place, key)) for key, value in data.items()}
        if isinstance(data, tuple):
            return tuple(self.walk(value, (*place, at)) for at, value in enumerate(data))
        if not isinstance(data, str):
            return data
        if not _is_secret(place):
            if _LOOKS_LIKE_ONE.search(data):
                self.result.faults.append(Fault(place, _ELSEWHERE))
            return data
        try:
            return self._secret(data, place)
        except ValueError as error:
            self.result.faults.append(Fault(place, str(error)))
            return _STAND_IN

    def _secret(self, text: str, place: Place) -> Secret:
        reference = _REFERENCE.fullmatch(text)
        if reference is None:
            if _LOOKS_LIKE_ONE.search(text):
                raise ValueError("write ${env:NAME} or ${file:PATH} and nothing around it")
            if not text:
                raise ValueError("is empty; write ${env:NAME} or ${file:PATH}")
            self.result.literals.add(place)
            return Secret(text)
        kind, name = reference.groups()
        return self._variable(name) if kind == "env" else self._file(name)

    def _variable(self, name: str) -> Secret:
        value = self._environ.get(name)
        if value is None:
            raise ValueError(f"the environment variable {shown(name)} is not set")
        if not value:
            raise ValueError(f"the environment variable {shown(name)} is empty")
        # Bytes that are no UTF-8 come from the system in this form.
        return Secret(value.encode(errors="surrogateescape"))

    def _file(self, name: str) -> Secret:
        path = self._base / name
        if "\0" in name:
            raise ValueError(f"{shown_path(path)} cannot be the path of a file")
        try:
            if path.exists() and not path.is_file():
                raise ValueError(f"{shown_path(path)} is not a file")
            with path.open("rb") as file:
                value = file.read(LARGEST_FILE + 1)
        except OSError as error:
            raise ValueError(f"cannot read {shown_path(path)}: {error.strerror}") from None
        if len(value) > LARGEST_FILE:
            raise ValueError(f"{shown_path(path)} is larger than {LARGEST_FILE} bytes")
        value = value.removesuffix(b"\r\n" if value.endswith(b"\r\n") else b"\n")
        if not value:
            raise ValueError(f"{shown_path(path)} is empty")
        return Secret(value)


def _is_secret(place: Place) -> bool:
    return any(
        len(place) == len(shape)
        and all(want is None or want == part for want, part in zip(shape, place, strict=True))
        for shape in _SECRETS
    )
