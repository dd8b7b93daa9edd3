"""Content-Type, where the signature covers single fields of a body, or what it is parsed to.

Whoever has such a message may write anything else into it, and choose its Content-Type, which the
upstream gets as it came. A reader that takes the body for a form, or for text in another character
set, would find other fields there than those that were verified.
"""

import re
from typing import Final

from relay.core.errors import Reason, Refusal
from relay.core.request import Headers

#: What most senders say.
USUAL: Final = ("Content-Type", "application/json")

_MEDIA_TYPES: Final = frozenset(
    {"", "application/json", "text/json", "text/plain", "application/octet-stream"}
)
#: One type alone: some readers end it at a comma or a blank.
_JSON_SUFFIX: Final = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]*\+json")
FORM: Final = "application/x-www-form-urlencoded"
_CHARSETS: Final = frozenset({"utf-8", "utf8", "us-ascii"})


def check_json(headers: Headers) -> None:
    """Refuse a body that is no JSON in UTF-8 by its Content-Type, as FIELD_INVALID.

    Without one, or as text or bytes, nothing says what it is.
    """
    values = headers.values("content-type")
    if not values:
        return
    media_type, *parameters = (part.strip().lower() for part in values[0].split(";"))
    known = media_type in _MEDIA_TYPES or _JSON_SUFFIX.fullmatch(media_type) is not None
    if len({*values}) > 1 or not known or not all(map(_is_harmless, parameters)):
        raise Refusal(Reason.FIELD_INVALID, "Content-Type says that the body is no JSON in UTF-8")


def check_form(headers: Headers) -> None:
    """Refuse a body that is no form in UTF-8 by its Content-Type, as FIELD_INVALID."""
    values = headers.values("content-type")
    media_type, *parameters = (part.strip().lower() for part in "".join(values).split(";"))
    if len(values) != 1 or media_type != FORM or not all(map(_is_harmless, parameters)):
        raise Refusal(Reason.FIELD_INVALID, f"Content-Type does not say {FORM} in UTF-8")


def _is_harmless(parameter: str) -> bool:
    name, _, value = parameter.partition("=")
    return name.strip() != "charset" or value.strip().strip('"') in _CHARSETS
