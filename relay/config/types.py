"""The value types of the configuration: durations, sizes, addresses, names and URLs.

Each function parses a value from the file, or raises ValueError with a sentence that says what to
write instead. The sentence never repeats the value: it may be a secret.
"""

import re
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

from netaddr import IPNetwork
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
)

from relay.allowlist.networks import Nameserver, parse_host_name, parse_nameserver, parse_network
from relay.core.json_pointer import Pointer
from relay.core.patterns import LinearPattern
from relay.core.rate_limit import Rate
from relay.core.request import Address
from relay.core.secret import Secret

# ---- parsing --------------------------------------------------------------------------------

MAX_DURATION = timedelta(days=3650)
_MAX_PATTERN = 1000
# Longer texts are no address and no name, and would only be repeated in a message.
_MAX_URL = 300

_DURATION = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)")
_DURATION_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_SIZE = re.compile(r"([0-9]{1,9})(B|KiB|MiB|GiB)")
_SIZE_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_RATE = re.compile(r"([0-9]{1,7})/([smh])")
_RATE_UNITS = {"s": 1, "m": 60, "h": 3600}
_MAX_RATE = 10**7
# A rate in other words: a fraction, a unit that is written out, blanks, or no unit.
_NEAR_RATE = re.compile(
    r"\s*([0-9]{1,20}(?:\.[0-9]{1,9})?)\s*(?:(?:/|per)\s*"
    r"(s(?:ec(?:ond)?s?)?|m(?:in(?:ute)?s?)?|h(?:r|our)?s?)\s*)?",
    re.IGNORECASE,
)
# The beginning of a certificate or a key.
_PEM = "-----BEGIN"
_BIND = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):([0-9]{1,5})")
# Names inside container networks are short and may hold underscores.
_URL_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_VISIBLE = re.compile(r"[!-~]+")
# The characters of a path (RFC 3986, 3.3).
_PATH = re.compile(r"/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*")
_DOTS = re.compile(r"(?:\.|%2[eE]){1,2}")
_MAX_PORT = 65535
_IPV6 = 6
_NO_BIND = 'write an address and a port in quotes, such as "0.0.0.0:8443" or "[::]:8443"'
# What is written instead of an address and a port, the first that fits; and what is wrong with it.
_UNFIT_BINDS = (
    (r"[!-~]*/[!-~]*", 'write the address and the port alone, such as "0.0.0.0:8443"'),
    (
        r"[^\[\]\s]*:[^\[\]\s]*:[^\[\]\s]*",
        'an IPv6 address needs brackets and a port, such as "[::1]:8443"',
    ),
    (
        r"[0-9]+(\.[0-9]+){3}|\[[0-9a-fA-F:.]+\]",
        'no port; write one behind the address, such as "127.0.0.1:8443"',
    ),
    (r"[\w.-]+", 'no port behind an address; write both, such as "0.0.0.0:8443"'),
    (
        r"\*?:[0-9]*",
        'no address before the port; "0.0.0.0:8443" is all of IPv4, "[::]:8443" all of IPv6',
    ),
    (r"[!-~]+:(?![0-9]{1,5}$)[^:\s]*", "the port is a whole number, at most 65535"),
    (
        r"[\w.-]*[A-Za-z][\w.-]*:[0-9]+",
        'a name is no address; write one, such as "127.0.0.1:8080" or "[::1]:8080"',
    ),
)
# A home directory, or a variable, as only a shell reads them.
_OF_A_SHELL = re.compile(r"(~)[A-Za-z0-9_-]*(?:/.*)?|(\$)[A-Za-z_].*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Bind:
    """An address and a port to listen on; port 0 takes any that is free."""

    address: Address
    port: int

    @property
    def host(self) -> str:
        return str(self.address)

    @property
    def from_here(self) -> "Bind":
        """Where a listener at this address is reached from its own machine."""
        if not self.address.is_unspecified:
            return self
        return Bind(ip_address("::1" if self.address.version == _IPV6 else "127.0.0.1"), self.port)

    def __str__(self) -> str:
        host = f"[{self.address}]" if self.address.version == _IPV6 else str(self.address)
        return f"{host}:{self.port}"


def duration(value: object) -> timedelta:
    """Return a duration longer than nothing."""
    length = duration_or_zero(value)
    if not length:
        raise ValueError("must be longer than nothing")
    return length


def duration_or_zero(value: object) -> timedelta:
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("write a whole number and a unit: 500ms, 15s, 5m, 6h or 7d")
    number, unit = int(match[1]), _DURATION_UNITS[match[2]]
    if number > MAX_DURATION // unit:
        raise ValueError(f"longer than {MAX_DURATION.days} days; write a shorter duration")
    return number * unit


def size(value: object) -> int:
    """Return a number of bytes, at least 1."""
    if isinstance(value, str) and (match := _SIZE.fullmatch(value)):
        number = int(match[1]) * _SIZE_UNITS[match[2]]
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    else:
        raise ValueError("write a size such as 64KiB or 1MiB, or a whole number of bytes")
    if not 1 <= number <= 2**40:
        raise ValueError("must be at least 1 byte and at most 1024GiB")
    return number


def bind(value: object) -> Bind:
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    match = _BIND.fullmatch(text)
    if match is None:
        raise ValueError(_unfit_bind(text))
    if int(match[3]) > _MAX_PORT:
        raise ValueError(f"the port is at most {_MAX_PORT}")
    return Bind(_address(match[1] or match[2], _NO_BIND), int(match[3]))


def _unfit_bind(text: str) -> str:
    """Return what is wrong with a text that is no address and port, and what to write."""
    found = (said for shape, said in _UNFIT_BINDS if re.fullmatch(shape, text))
    return next(found, _NO_BIND)


def nameserver(value: object) -> Nameserver:
    if not isinstance(value, str) or len(value) > _MAX_URL:
        raise ValueError('write an address in quotes, such as "192.0.2.53"')
    return parse_nameserver(value)


def rate(value: object) -> Rate:
    """Return a rate of at least one call in its unit of time."""
    match = _RATE.fullmatch(value) if isinstance(value, str) else None
    if match is None or not int(match[1]):
        raise ValueError(_unfit_rate(str(value)))
    return Rate(int(match[1]), _RATE_UNITS[match[2]])


def _unfit_rate(text: str) -> str:
    """Return what is wrong with a text that is no rate, and what to write."""
    usual = "write a whole number and s, m or h, such as 50/s, 10/m or 5/h"
    near = _NEAR_RATE.fullmatch(text)
    if near is None:
        return usual
    if not float(near[1]):
        return "must be 1 or more; paused: true delivers nothing"
    if near[2] is None:
        return f"has no unit of time; {usual}"
    number, unit = float(near[1]), near[2][0].lower()
    if number >= _MAX_RATE:
        return f"must be less than {_MAX_RATE}; left out, there is no limit"
    for smaller in "smh"["smh".index(unit) :]:
        calls = number * _RATE_UNITS[smaller] / _RATE_UNITS[unit]
        if calls.is_integer() and calls < _MAX_RATE:
            return f"write {int(calls)}/{smaller}"
    return usual


def network(value: object) -> IPNetwork:
    if not isinstance(value, str) or len(value) > _MAX_URL:
        raise ValueError('write a network in quotes, such as "192.0.2.0/24"')
    return parse_network(value)


def member(value: object) -> IPNetwork | str:
    """Return a network, or the name of a host."""
    if not isinstance(value, str) or len(value) > _MAX_URL:
        raise ValueError("write a network or a host name in quotes")
    last = value.rstrip(".").rpartition(".")[2]
    if ":" in value or "/" in value or last.isdecimal():
        return parse_network(value)
    return parse_host_name(value)


def upstream_url(text: str) -> str:
    _check_url(text, "http://billing.internal:8080/webhooks", "; they belong in auth")
    return text


def token_url(text: str) -> str:
    _check_url(
        text, "https://login.internal/oauth2/token", "; they belong in client_id and client_secret"
    )
    return text


def api_url(text: str) -> str:
    _check_url(text, "https://api.midtrans.com")
    if "?" in text:
        raise ValueError("must have no query; write the URL up to the question mark")
    return text


def public_url(text: str) -> str:
    _check_url(text, "https://pay.example.com/midtrans/notification")
    return text


def label(text: str) -> str:
    """Return a name that can be a label in metrics."""
    if not _NAME.fullmatch(text):
        raise ValueError("write 1 to 64 letters, digits, hyphens or underscores")
    return text


def header_name(text: str) -> str:
    if not _HEADER.fullmatch(text):
        raise ValueError("write the name of a header field, such as X-Signature")
    return text


def server_name(text: str) -> str:
    """Return a name that a certificate can hold."""
    if not _URL_HOST.fullmatch(text.lower()) or re.fullmatch("[0-9.]+", text):
        message = "write the host name that the certificate holds, such as billing.internal"
        raise ValueError(f"{message}; no address, port or URL")
    return text.lower().removesuffix(".")


def admin_host(text: str) -> str:
    """Return a name or an address of this machine, as it stands in a Host field."""
    try:
        return str(ip_address(text))
    except ValueError:
        pass
    if not _URL_HOST.fullmatch(text.lower()):
        message = "write a host name or an address, without a port, such as relay.internal"
        raise ValueError(message)
    return text.lower()


def json_pointer(text: str) -> str:
    Pointer(text)
    return text


def public_path(text: str) -> str:
    if not _PATH.fullmatch(text):
        raise ValueError(
            'write a path that begins with "/", as it stands in a request line:'
            " no query, no blanks, no backslash"
        )
    if "//" in text:
        raise ValueError('must not hold "//"')
    if any(map(_DOTS.fullmatch, text.split("/"))):
        raise ValueError('must not hold "." or ".." between slashes')
    if text == "/healthz":
        raise ValueError("/healthz is the health check; write another path")
    return text


def pattern(text: str) -> str:
    """Return a regular expression that runs in linear time."""
    if len(text) > _MAX_PATTERN:
        raise ValueError(f"longer than {_MAX_PATTERN} characters")
    try:
        LinearPattern(text)
    except ValueError as error:
        raise ValueError(f"not a regular expression of RE2: {error}") from None
    return text


def refuse_shell_path(text: str) -> None:
    """Raise ValueError for a path with `~` or a variable at its beginning."""
    if match := _OF_A_SHELL.fullmatch(text):
        sign = match[1] or match[2]
        raise ValueError(f"{sign} is not expanded here; write the whole path")


def _address(text: str, message: str) -> Address:
    try:
        return ip_address(text)
    except ValueError:
        raise ValueError(message) from None


def _check_url(text: str, sample: str, credentials: str = "") -> None:
    """Raise ValueError for what is no URL. credentials: where a user and a password belong."""
    message = f"write a URL such as {sample}"
    if not _VISIBLE.fullmatch(text):
        raise ValueError(
            f"holds blanks or letters that a URL cannot have; {message}" if text else message
        )
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(_unfit_url(text, message)) from None
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"must begin with http:// or https://; {message}")
    if not host or port == 0:
        raise ValueError(message)
    if "@" in parts.netloc:
        raise ValueError(f"must hold no user name or password{credentials}")
    if "#" in text:
        raise ValueError('must hold no "#"')
    if "[" not in parts.netloc:
        if re.fullmatch(r"[0-9.]+", host):
            _address(host, message)
        elif not _URL_HOST.fullmatch(host):
            raise ValueError(message)


def _unfit_url(text: str, message: str) -> str:
    port = re.search(r"^[a-z]+://[^/]*:([0-9]+)(?:/|$)", text)
    return f"the port is at most {_MAX_PORT}" if port and int(port[1]) > _MAX_PORT else message


# ---- types of settings, each with its JSON Schema -------------------------------------------


class Section(BaseModel):
    """A mapping in the file. No value is converted: a quoted number is text, not a number.

    USUAL: keys that a sample shows besides those that are needed.
    """

    USUAL: ClassVar[tuple[str, ...]] = ()

    model_config = ConfigDict(
        arbitrary_types_allowed=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        strict=True,
        validate_default=True,
    )


def default(value: object, **about: Any) -> Any:  # noqa: ANN401 - as pydantic.Field
    """Declare a key that may be left out; its default is written as it would stand in the file."""
    return Field(value, **about)


def _absolute(value: object, info: ValidationInfo) -> Path:
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise ValueError("write the path of a file")
    if _PEM in str(value):
        raise ValueError("holds what belongs in a file; write the path of one")
    refuse_shell_path(str(value))
    base = info.context["base"] if info.context else Path()
    return Path(base) / value


def _secret(value: object) -> Secret:
    # References have been replaced before; what is no text was left as it is.
    if isinstance(value, tuple):
        raise ValueError("write one secret, without brackets around it")  # noqa: TRY004 - pydantic
    if not isinstance(value, Secret):
        raise ValueError("write ${env:NAME} or ${file:PATH}")  # noqa: TRY004 - pydantic
    return value


Duration = Annotated[
    timedelta,
    PlainValidator(duration),
    WithJsonSchema({"type": "string", "pattern": "^[0-9]{1,9}(ms|s|m|h|d)$"}),
]
DurationOrZero = Annotated[
    timedelta,
    PlainValidator(duration_or_zero),
    WithJsonSchema({"type": "string", "pattern": "^[0-9]{1,9}(ms|s|m|h|d)$"}),
]
Size = Annotated[
    int,
    PlainValidator(size),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1},
                {"type": "string", "pattern": "^[0-9]{1,9}(B|KiB|MiB|GiB)$"},
            ]
        }
    ),
]
ApiUrl = Annotated[str, AfterValidator(api_url)]
AdminHost = Annotated[str, AfterValidator(admin_host)]
BindText = Annotated[Bind, PlainValidator(bind), WithJsonSchema({"type": "string"})]
NameserverText = Annotated[
    Nameserver, PlainValidator(nameserver), WithJsonSchema({"type": "string"})
]
Network = Annotated[IPNetwork, PlainValidator(network), WithJsonSchema({"type": "string"})]
Member = Annotated[IPNetwork | str, PlainValidator(member), WithJsonSchema({"type": "string"})]
RateText = Annotated[
    Rate,
    PlainValidator(rate),
    WithJsonSchema({"type": "string", "pattern": "^[1-9][0-9]{0,6}/[smh]$"}),
]
SecretText = Annotated[Secret, PlainValidator(_secret), WithJsonSchema({"type": "string"})]
FilePath = Annotated[Path, BeforeValidator(_absolute), WithJsonSchema({"type": "string"})]
HeaderName = Annotated[str, AfterValidator(header_name)]
HostName = Annotated[str, AfterValidator(parse_host_name)]
JsonPointer = Annotated[str, AfterValidator(json_pointer)]
Label = Annotated[str, AfterValidator(label)]
Pattern = Annotated[
    str, AfterValidator(pattern), WithJsonSchema({"type": "string", "format": "regex"})
]
PublicPath = Annotated[str, AfterValidator(public_path)]
PublicUrl = Annotated[str, AfterValidator(public_url)]
ServerName = Annotated[str, AfterValidator(server_name)]
TokenUrl = Annotated[str, AfterValidator(token_url)]
UpstreamUrl = Annotated[str, AfterValidator(upstream_url)]
