"""Configuration file to settings: references resolved, everything checked; and its JSON Schema.

A file is either valid as a whole or refused with every mistake that is in it.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.json_schema import GenerateJsonSchema

from relay.config import checks, checks_challenges
from relay.config import endpoints as endpoint_checks
from relay.config.endpoints import provider_of
from relay.config.file_text import MAX_FILE_BYTES, as_written, read_text
from relay.config.listener_settings import Admin
from relay.config.path_overlaps import overlap_issues
from relay.config.presets import with_presets
from relay.config.secret_references import UNSET, resolve
from relay.config.settings import Settings
from relay.config.spool_place import place_spool
from relay.config.validation import validate
from relay.config.yaml_document import (
    TOP,
    ConfigIssue,
    Document,
    Location,
    SourceMap,
    Unreadable,
    parse,
)
from relay.core.errors import ConfigError

# ---- loading --------------------------------------------------------------------------------


def load(path: Path, environ: Mapping[str, str], unset: str = UNSET) -> Settings:
    """Read and check a configuration file; `${env:NAME}` is looked up in `environ`.

    Relative paths in it start from its directory. unset: what is said of a missing variable.

    Raises:
        ConfigError: with every mistake, in the order of the file.
    """
    base = path.absolute().parent
    try:
        text = read_text(path)
    except Unreadable as error:
        raise _refused(SourceMap(str(path), base), [error.issue]) from None
    return load_text(text, str(path), environ, base, unset)


def load_admin(path: Path, environ: Mapping[str, str]) -> Admin:
    """Return the `admin` section of a file, which may have mistakes in other sections.

    Raises:
        ConfigError: with every mistake in the file, if the section alone cannot be read.
    """
    base = path.absolute().parent
    with suppress(UnicodeEncodeError, ValidationError):
        data = as_written(path)
        section = data.get("admin", {}) if isinstance(data, dict) else None
        resolved = resolve({"admin": section}, environ, base)
        if isinstance(resolved.data, dict) and not resolved.issues:
            return Admin.model_validate(resolved.data["admin"], context={"base": base})
    return load(path, environ).admin


def load_text(
    text: str, name: str, environ: Mapping[str, str], base: Path, unset: str = UNSET
) -> Settings:
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
    return _validated(document, source, environ, unset)


def _validated(
    document: Document, source: SourceMap, environ: Mapping[str, str], unset: str
) -> Settings:
    resolved = resolve(with_presets(document.data), environ, source.base, unset)
    source = SourceMap(
        source.file,
        source.base,
        document.values,
        document.keys,
        frozenset(resolved.literals),
    )
    validated = validate(resolved.data, source.base)
    wrong = {issue.location for issue in validated.issues}
    # Below an unknown key, or in a list where none belongs, nothing is where it should be.
    issues = [
        issue
        for issue in (*document.issues, *resolved.issues)
        if not any(issue.location[:length] in wrong for length in range(1, len(issue.location)))
    ]
    unsound = {issue.location for issue in issues if issue.location}
    # A place whose reference was refused is not checked a second time.
    issues += [issue for issue in validated.issues if issue.location not in unsound]
    unsound |= validated.unsound
    settings = validated.settings
    if settings is not None:
        settings = place_spool(settings, environ, source.base, document.values)
        issues += [
            issue
            for issue in _cross_checks(settings, document, source)
            if not issue.rests_on(unsound)
        ]
    if issues or settings is None:
        raise _refused(source, issues)
    return _with_environments(settings).from_source(source)


def _cross_checks(settings: Settings, document: Document, source: SourceMap) -> list[ConfigIssue]:
    def place(location: Location) -> str:
        return "{}:{}".format(*source.position(location))

    issues = [*checks.refusals(settings)]
    issues += checks.issues(settings, _names(document.data), place)
    issues += checks.sealing_key_issues(settings)
    for at, endpoint in enumerate(settings.endpoints):
        issues += endpoint_checks.issues(endpoint, ("endpoints", at))
    issues += checks_challenges.issues(settings)
    claimed = endpoint_checks.claimed_paths(settings.endpoints)
    issues += overlap_issues(claimed, place)
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
