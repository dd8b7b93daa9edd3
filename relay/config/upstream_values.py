"""The value types of an upstream's keys: header values, credentials, statuses.

As in `relay.config.types`, functions raise ValueError with a sentence that says what to write, and
that never repeats a secret.
"""

import re
from collections.abc import Callable
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, PlainValidator, WithJsonSchema

from relay.config.types import SecretText
from relay.config.yaml_document import shown_key, suggestion
from relay.core.secret import Secret

# ---- what a header field can carry ----------------------------------------------------------

#: Of one field; nginx and Apache take 8 KiB for it with its name.
MAX_FIELD_BYTES: Final = 8000

_LAST_OF_LATIN_1: Final = "\xff"
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def unsendable(value: bytes) -> str | None:
    """Return why a value cannot stand in a header field, and what to write; None where it can."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return "is no UTF-8 text; write it in UTF-8"
    return next((said for is_so, said in _UNSENDABLE if is_so(text)), None)


_UNSENDABLE: Final[tuple[tuple[Callable[[str], object], str], ...]] = (
    (
        lambda text: len(text.splitlines()) > 1 or text.endswith(("\r", "\n")),
        "has several lines, and a header field is one; write the value alone",
    ),
    (_CONTROL.search, "holds a control character; write it without"),
    (lambda text: not text.strip(), "is blank; write a value"),
    (
        lambda text: len(text.encode()) > MAX_FIELD_BYTES,
        f"is longer than {MAX_FIELD_BYTES} bytes, which many servers refuse; write less",
    ),
    (
        lambda text: max(text) > _LAST_OF_LATIN_1,
        "holds letters beyond Latin-1, which no header field carries; write others",
    ),
)


def _header_text(value: object) -> Secret:
    # Text has been made a secret before, whether it was written out or not.
    if not isinstance(value, Secret):
        message = "write text; a number or a word such as true needs quotes"
        raise ValueError(message)  # noqa: TRY004 - pydantic
    return value


# ---- credentials ----------------------------------------------------------------------------

_SCHEME: Final = re.compile(r"(?:bearer|basic)\s", re.IGNORECASE)
# RFC 6749, 3.3.
_SCOPE: Final = re.compile(r"[!#-\[\]-~]+(?: [!#-\[\]-~]+)*")
_VISIBLE: Final = re.compile(r"[!-~]+")


def _token(token: Secret) -> Secret:
    if said := unsendable(token.reveal()):
        raise ValueError(said)
    text = token.reveal().decode()
    if scheme := _SCHEME.match(text):
        word = scheme[0].strip().capitalize()
        raise ValueError(f"begins with {word}, which relay writes itself; write the token alone")
    if not _VISIBLE.fullmatch(text):
        message = "holds a blank or a letter that no token has; write the token alone"
        raise ValueError(message)
    return token


def _password(password: Secret) -> Secret:
    try:
        text = password.reveal().decode()
    except UnicodeDecodeError:
        raise ValueError("is no UTF-8 text; write it in UTF-8") from None
    if len(text.splitlines()) > 1 or _CONTROL.search(text):
        message = "has several lines or a control character; write the value alone"
        raise ValueError(message)
    return password


def _user(text: str) -> str:
    if ":" in text:
        message = "must hold no colon, behind which the password begins; write the name alone"
        raise ValueError(message)
    return _client_id(text)


def _client_id(text: str) -> str:
    if _CONTROL.search(text) or text != text.strip():
        message = "holds a control character, or a blank at one end; write it without"
        raise ValueError(message)
    return text


def _scope(value: object) -> object:
    if isinstance(value, tuple):
        message = 'write one text with blanks between the names, such as "read write"'
        raise ValueError(message)  # noqa: TRY004 - pydantic
    return value


def _scope_text(text: str) -> str:
    if not _SCOPE.fullmatch(text):
        message = "write names with one blank between them, without quotes and backslashes"
        raise ValueError(message)
    return text


#: The kinds of credentials, and what is written of each.
AUTH_KINDS: Final = ("bearer", "basic", "oauth2")


#: Where credentials of other kinds are written.
_ELSEWHERE: Final = (
    (
        re.compile("api.?key|header", re.IGNORECASE),
        "a key in a field of its own is written in headers",
    ),
    (re.compile("tls|cert", re.IGNORECASE), "a client certificate is written in tls"),
)


def one_kind(value: object) -> object:
    """Raise ValueError unless a mapping has the key of exactly one kind of credentials."""
    if value is None:
        return value
    if not isinstance(value, dict):
        if hasattr(value, "secrets"):
            return value
        raise ValueError('write a mapping with the kind, such as {bearer: "${env:NAME}"}')
    kinds = [kind for kind in AUTH_KINDS if kind in value]
    if len(kinds) > 1:
        raise ValueError(f"{' and '.join(kinds)} at once; write one of them")
    if not kinds:
        known = f"write one of {', '.join(AUTH_KINDS)}"
        for key in map(str, value):
            near = suggestion(key, AUTH_KINDS)
            meant = f"{known}; {near}" if near.startswith("did") else known
            meant = next((said for is_so, said in _ELSEWHERE if is_so.search(key)), meant)
            raise ValueError(f'there are no credentials "{shown_key(key)}"; {meant}')
        raise ValueError(known)
    return value


# ---- statuses -------------------------------------------------------------------------------

_FIRST_FINAL, _LAST_STATUS = 300, 599


def final_status(value: object) -> int:
    """Return a status after which an event can be dead at once."""
    if not isinstance(value, int) or isinstance(value, bool):
        message = "write each status as a whole number without quotes, such as 400"
        raise ValueError(message)  # noqa: TRY004 - pydantic
    kind = {1: f"{value} only announces an answer; ", 2: f"{value} is a success; "}.get(
        value // 100
    )
    if not _FIRST_FINAL <= value <= _LAST_STATUS:
        raise ValueError(f"{kind or ''}write statuses from {_FIRST_FINAL} to {_LAST_STATUS}")
    return value


BearerToken = Annotated[SecretText, AfterValidator(_token)]
ClientId = Annotated[str, AfterValidator(_client_id)]
FinalStatus = Annotated[
    int,
    PlainValidator(final_status),
    WithJsonSchema({"type": "integer", "minimum": _FIRST_FINAL, "maximum": _LAST_STATUS}),
]
HeaderText = Annotated[Secret, PlainValidator(_header_text), WithJsonSchema({"type": "string"})]
#: Of a user or a client.
Password = Annotated[SecretText, AfterValidator(_password)]
Scope = Annotated[str, BeforeValidator(_scope), AfterValidator(_scope_text)]
UserName = Annotated[str, AfterValidator(_user)]
