"""The JSON Schema of a configuration file, so that editors complete keys and mark mistakes."""

import json
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from relay.config.settings import Settings

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
    # An empty name is how the models say "the only one there is".
    whole["$defs"]["Endpoint"]["properties"]["environment"].pop("default")
    return whole


def text() -> str:
    """Return the schema as it stands in a file."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
