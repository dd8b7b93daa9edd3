"""Configuration file to settings: references resolved, everything checked; and its JSON Schema.

A file is either valid as a whole or refused with every mistake that is in it.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from relay.config import checks
from relay.config import endpoints as endpoint_checks
from relay.config.endpoints import provider_of
from relay.config.settings import Settings
from relay.config.validation import validate
from relay.config.yaml_document import (
    TOP,
    ConfigIssue,
    Document,
    Location,
    SourceMap,
    Unreadable,
    parse,
    shown,
    shown_path,
)
from relay.core.errors import ConfigError
from relay.core.files import read
from relay.core.secret import Secret

# ---- secret references: `${env:NAME}` and `${file:PATH}` ------------------------------------

MAX_SECRET_BYTES = 64 * 1024

# Places of secrets; None matches any name or number.
_SECRETS: tuple[tuple[str | None, ...], ...] = (
    ("admin", "token"),
    ("endpoints", None, "secrets", None),
    ("upstreams", None, "signing_secrets", None),
    ("spool", "dsn"),
)
_REFERENCE = re.compile(r"\$\{(env|file):([^{}]+)\}")
_LIKE_REFERENCE = re.compile(r"\$\{[^{}]*\}")
_ELSEWHERE = (
    "${env:NAME} and ${file:PATH} work only in admin.token, endpoints.*.secrets,"
    " upstreams.*.signing_secrets and spool.dsn; write the value itself"
)
_PLACEHOLDER = Secret("stand-in")


@dataclass(slots=True)
class Resolved:
    """Data with `Secret` in the places of secrets.

    literals: the places of secrets that are written out.
    """

    data: object = None
    literals: set[Location] = field(default_factory=set)
    issues: list[ConfigIssue] = field(default_factory=list)


def resolve(data: object, environ: Mapping[str, str], base: Path) -> Resolved:
    """Replace every reference. A secret that cannot be read is an issue, and a placeholder."""
    resolver = _Resolver(environ, base)
    resolver.result.data = resolver.walk(data, ())
    return resolver.result


class _Resolver:
    def __init__(self, environ: Mapping[str, str], base: Path) -> None:
        self.result = Resolved()
        self._environ = environ
        self._base = base

    def walk(self, data: object, location: Location) -> object:
        if isinstance(data, dict):
            return {key: self.walk(value, (*location, key)) for key, value in data.items()}
        if isinstance(data, tuple):
            return tuple(self.walk(value, (*location, at)) for at, value in enumerate(data))
        if not isinstance(data, str):
            return data
        if not _is_secret(location):
            if _LIKE_REFERENCE.search(data):
                self.result.issues.append(ConfigIssue(location, _ELSEWHERE))
            return data
        try:
            return self._secret(data, location)
        except ValueError as error:
            self.result.issues.append(ConfigIssue(location, str(error)))
            return _PLACEHOLDER

    def _secret(self, text: str, location: Location) -> Secret:
        reference = _REFERENCE.fullmatch(text)
        if reference is None:
            if _LIKE_REFERENCE.search(text):
                raise ValueError("write ${env:NAME} or ${file:PATH} and nothing around it")
            if not text:
                raise ValueError("is empty; write ${env:NAME} or ${file:PATH}")
            self.result.literals.add(location)
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
                value = file.read(MAX_SECRET_BYTES + 1)
        except OSError as error:
            raise ValueError(f"cannot read {shown_path(path)}: {error.strerror}") from None
        if len(value) > MAX_SECRET_BYTES:
            raise ValueError(f"{shown_path(path)} is larger than {MAX_SECRET_BYTES} bytes")
        value = value.removesuffix(b"\r\n" if value.endswith(b"\r\n") else b"\n")
        if not value:
            raise ValueError(f"{shown_path(path)} is empty")
        return Secret(value)


def _is_secret(location: Location) -> bool:
    return any(
        len(location) == len(shape)
        and all(want is None or want == part for want, part in zip(shape, location, strict=True))
        for shape in _SECRETS
    )


# ---- loading --------------------------------------------------------------------------------

MAX_FILE_BYTES = 1024 * 1024


def load(path: Path, environ: Mapping[str, str]) -> Settings:
    """Read and check a configuration file; `${env:NAME}` is looked up in `environ`.

    Relative paths in it start from its directory.

    Raises:
        ConfigError: with every mistake, in the order of the file.
    """
    base = path.absolute().parent
    try:
        text = read(path, MAX_FILE_BYTES + 1).decode()
    except UnicodeDecodeError as error:
        message = f"not UTF-8: byte {error.start + 1} cannot be read; save the file as UTF-8"
        raise _refused(SourceMap(str(path), base), [ConfigIssue((), message)]) from None
    except (OSError, ValueError) as error:
        cause = error.strerror if isinstance(error, OSError) else str(error)
        message = f"cannot read the file: {cause}"
        raise _refused(SourceMap(str(path), base), [ConfigIssue((), message)]) from None
    return load_text(text, str(path), environ, base)


def load_text(text: str, name: str, environ: Mapping[str, str], base: Path) -> Settings:
    """Read and check a configuration from text; `name` is that of the file in messages.

    Raises:
        ConfigError: with every mistake, in the order of the text.
    """
    source = SourceMap(name, base.absolute())
    # A byte order mark, as some editors write it.
    text = text.removeprefix("\ufeff")
    try:
        if len(text.encode()) > MAX_FILE_BYTES:
            raise _refused(source, [ConfigIssue((), "larger than 1 MiB")])
        document = parse(text)
    except UnicodeEncodeError:
        raise _refused(source, [ConfigIssue((), "not valid Unicode")]) from None
    except Unreadable as error:
        raise _refused(source, [error.issue]) from None
    if document.data is None:
        message = "the file is empty; write at least listen, upstreams and endpoints"
        raise _refused(source, [ConfigIssue((), message, position=TOP)])
    return _validated(document, source, environ)


def _validated(document: Document, source: SourceMap, environ: Mapping[str, str]) -> Settings:
    resolved = resolve(document.data, environ, source.base)
    source = SourceMap(
        source.file,
        source.base,
        document.values,
        document.keys,
        frozenset(resolved.literals),
    )
    unsound = {issue.location for issue in (*document.issues, *resolved.issues) if issue.location}
    issues = [*document.issues, *resolved.issues]

    validated = validate(resolved.data, source.base)
    # A place whose reference was refused is not checked a second time.
    issues += [issue for issue in validated.issues if issue.location not in unsound]
    unsound |= validated.unsound
    settings = validated.settings
    if settings is not None:
        issues += [
            issue for issue in _cross_checks(settings, document) if not issue.rests_on(unsound)
        ]
    if issues or settings is None:
        raise _refused(source, issues)
    return _with_environments(settings).from_source(source)


def _cross_checks(settings: Settings, document: Document) -> list[ConfigIssue]:
    issues = [*checks.refusals(settings)]
    issues += checks.issues(settings, _names(document.data))
    for at, endpoint in enumerate(settings.endpoints):
        issues += endpoint_checks.issues(endpoint, ("endpoints", at))
    issues += endpoint_checks.overlap_issues(endpoint_checks.claimed_paths(settings.endpoints))
    return issues


def _names(data: object) -> tuple[str, ...]:
    """Return the names of all upstreams, those with mistakes too."""
    upstreams = data.get("upstreams") if isinstance(data, dict) else None
    return tuple(upstreams) if isinstance(upstreams, dict) else ()


def _with_environments(settings: Settings) -> Settings:
    endpoints = tuple(
        endpoint.model_copy(update={"environment": endpoint_checks.environment(endpoint, info)})
        for endpoint in settings.endpoints
        for info in (provider_of(endpoint).info,)
    )
    return settings.model_copy(update={"endpoints": endpoints})


def _refused(source: SourceMap, issues: list[ConfigIssue]) -> ConfigError:
    return ConfigError(source.problem(issue) for issue in issues)


# ---- JSON Schema, so that editors complete keys and mark mistakes ---------------------------

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _WithoutFieldTitles(GenerateJsonSchema):
    """Leaves out the titles that pydantic makes of names; they say nothing new."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002 - pydantic's
        return False


def schema() -> dict[str, Any]:
    """Return the schema, made from the models."""
    whole = {
        "$schema": DIALECT,
        **Settings.model_json_schema(schema_generator=_WithoutFieldTitles),
    }
    whole["title"] = "relay configuration"
    # In the models, an empty name means "the only one there is".
    whole["$defs"]["Endpoint"]["properties"]["environment"].pop("default")
    return whole


def text() -> str:
    """Return the schema as it stands in a file."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
