"""Near misses: change one thing of a refused delivery or its options, and verify it again.

Pure, no I/O. A change under which it verifies is a hint for the operator. Of a secret a hint says
only which one fits.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Final
from urllib.parse import urlsplit

from relay.config.secret_text import without_oddities
from relay.core.errors import Refusal
from relay.core.request import Delivery, Headers, Verification
from relay.core.secret import Secret
from relay.core.strict_json import minify
from relay.providers import EndpointOptions, Provider, Window

_ANY_TIME: Final = Window(past=None, future=None)

_URL: Final = "it fits with public_url: "
_FORWARDED_HOSTS: Final = ("X-Forwarded-Host", "X-Original-Host", "Host")


@dataclass(frozen=True, slots=True)
class Case:
    """A refused delivery, with what may be tried instead.

    other_secrets: the secrets of other endpoints with the same provider, by a text naming these.
    other_urls: the `public_url` of other endpoints.
    """

    provider: Provider
    options: EndpointOptions
    delivery: Delivery
    other_secrets: Mapping[str, tuple[Secret, ...]]
    other_urls: Sequence[str] = ()


def near_misses(case: Case) -> list[str]:
    """Return a sentence for each change under which it verifies, the likeliest first."""
    found: list[str] = []
    for hint, options, delivery in _changes(case):
        if any(_same_change(hint, each) for each in found):
            continue
        if _verifies(case.provider, options, delivery):
            found.append(hint)
            continue
        later = replace(options, window=_ANY_TIME)
        if options.window != _ANY_TIME and _verifies(case.provider, later, delivery):
            found.append(f"{hint}; its time would be refused all the same")
    return found


def _same_change(hint: str, found: str) -> bool:
    """Tell whether two hints are about the same change, in another spelling."""
    return hint.partition(_URL)[:2] == found.partition(_URL)[:2] if _URL in hint else hint == found


def _verifies(
    provider: Provider, options: EndpointOptions, delivery: Delivery
) -> Verification | None:
    try:
        return provider.bind(options).verify(delivery)
    except (Refusal, ValueError):
        return None


_Change = tuple[str, EndpointOptions, Delivery]


def _changes(case: Case) -> Iterator[_Change]:
    options, delivery = case.options, case.delivery
    yield (
        "all is right but its time: see `timestamp`, and the clocks",
        replace(options, window=_ANY_TIME),
        delivery,
    )
    if options.order_id_pattern is not None:
        hint = "all is right but `order_id_pattern`"
        yield hint, replace(options, order_id_pattern=None), delivery
    if options.partner_id is not None:
        yield "all is right but `partner_id`", replace(options, partner_id=None), delivery
    yield from _secrets(case)
    yield from _urls(case)
    yield from _headers(case)
    yield from _bodies(case)


def _secrets(case: Case) -> Iterator[_Change]:
    for where, secrets in case.other_secrets.items():
        hint = f"it is signed for {where}: that secret fits, this endpoint's do not"
        yield hint, replace(case.options, secrets=secrets), case.delivery
    for position, secret in enumerate(case.options.secrets):
        text = secret.reveal()
        tried = {text, b""}
        for other, hint in (
            (text.strip(), "without the blanks around it"),
            (text + b"\n", "with a line end behind it"),
            (text.strip(b"\"'"), "without the quotes around it"),
            (without_oddities(text), "without what came along with it: quotes, lines, marks"),
        ):
            if other not in tried:
                tried.add(other)
                changed = replace(case.options, secrets=(Secret(other),))
                yield f"secrets.{position} fits {hint}", changed, case.delivery


def _urls(case: Case) -> Iterator[_Change]:
    options = case.options
    if options.public_url is not None:
        yield "it fits without public_url", replace(options, public_url=None), case.delivery
    for url in dict.fromkeys((*_public_urls(case), *case.other_urls)):
        if url != options.public_url:
            hint = f"{_URL}{url}"
            yield hint, replace(options, public_url=url), case.delivery


def _public_urls(case: Case) -> Iterator[str]:
    """Yield URLs that may be registered at the sender."""
    head, own = case.delivery.head, case.options.public_url
    known = [urlsplit(url) for url in (*case.other_urls, own or "")]
    hosts = [value for name in _FORWARDED_HOSTS for value in head.headers.values(name)]
    hosts += [each.netloc for each in known]
    hosts += [host.partition(":")[0] for host in hosts]
    remainder = case.delivery.remainder
    path = head.path.removesuffix(remainder) if remainder else head.target
    prefixes = ("", *head.headers.values("X-Forwarded-Prefix"))
    paths = [*head.headers.values("X-Original-URI"), *(each + path for each in prefixes)]
    paths += [each.path for each in known]
    for scheme, host, each in product(("https", "http"), dict.fromkeys(hosts), paths):
        if host:
            yield f"{scheme}://{host}{each}"


def _headers(case: Case) -> Iterator[_Change]:
    headers = case.delivery.head.headers
    names = dict.fromkeys(name.lower() for name, _ in headers)
    for name in names:
        values = headers.values(name)
        for at in range(len(values) if len(values) > 1 else 0):
            hint = f"it fits with number {at + 1} of its {len(values)} fields {name} alone"
            yield hint, case.options, _with_field(case.delivery, name, values[at])
        for trimmed in dict.fromkeys((values[0].strip("\"'"), values[0].lower())):
            if trimmed not in ("", values[0]):
                hint = f"it fits with {name} in lower case, or without quotes"
                yield hint, case.options, _with_field(case.delivery, name, trimmed)


def _with_field(delivery: Delivery, name: str, value: str) -> Delivery:
    others = tuple(item for item in delivery.head.headers if item[0].lower() != name)
    return replace(delivery, head=replace(delivery.head, headers=Headers((*others, (name, value)))))


def _bodies(case: Case) -> Iterator[_Change]:
    for hint, body in _rewritten(case.delivery.body):
        if body != case.delivery.body:
            change = f"it fits the body {hint}: something on the way rewrites bodies"
            yield change, case.options, replace(case.delivery, body=body)


def _rewritten(body: bytes) -> Iterator[tuple[str, bytes]]:
    yield "without the line ends behind it", body.rstrip(b"\r\n")
    yield "with a line end behind it", body + b"\n"
    yield "with LF line ends", body.replace(b"\r\n", b"\n")
    yield "with CRLF line ends", body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    yield "without its byte order mark", body.removeprefix(b"\xef\xbb\xbf")
    yield "without white space between its tokens", minify(body)
    try:
        read: Any = json.loads(body)
        texts: Any = json.loads(body, parse_float=str, parse_int=str)
    except (ValueError, RecursionError):
        return
    for separators, spaced in (((",", ":"), "compact"), ((", ", ": "), "with blanks")):
        for escaped in (False, True):
            written = _dumps(read, separators, escaped=escaped)
            how = f"written anew, {spaced}" + (", with \\u escapes" if escaped else "")
            yield how, written
            yield how + ", with \\/ for /", written.replace(b"/", b"\\/")
    yield "with its numbers as strings", _dumps(texts, (",", ":"), escaped=False)
    if isinstance(texts, dict):
        for hint, change in (("with .00", _with_cents), ("without .00", _without_cents)):
            changed = {name: change(value) for name, value in texts.items()}
            if changed != texts:
                yield f"with its amounts {hint}", _dumps(changed, (",", ":"), escaped=False)


def _dumps(value: object, separators: tuple[str, str], *, escaped: bool) -> bytes:
    written = json.dumps(value, separators=separators, ensure_ascii=escaped)
    return written.encode("utf-8", "surrogatepass")


def _with_cents(value: object) -> object:
    # A status code has three digits, and is no amount.
    amount = isinstance(value, str) and value.isdigit() and len(value) > len("200")
    return f"{value}.00" if amount else value


def _without_cents(value: object) -> object:
    return value.removesuffix(".00") if isinstance(value, str) else value
