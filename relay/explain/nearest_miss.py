"""Near misses: change one thing of a refused delivery or its options, and verify it again.

Pure, no I/O. A change under which it verifies is a hint for the operator. Of a secret a hint says
only which one fits.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Final
from urllib.parse import unquote, urlsplit

from relay.config.secret_text import without_oddities
from relay.core.errors import Refusal
from relay.core.request import Delivery, Headers, Verification
from relay.core.secret import Secret
from relay.explain.rewritten_body import rewritten
from relay.providers import EndpointOptions, Provider, Window
from relay.signatures import SignedText

_ANY_TIME: Final = Window(past=None, future=None)

#: The kind of the change that everything else leaves as it is.
_TIME: Final = "time"

#: No endpoint has it.
_PROBE: Final = "https://relay.invalid/probe"

_HOST: Final = re.compile(r"(?i)host=\"?([^\";,]+)").finditer
_PORT: Final = re.compile(r":[0-9]+$")
_BREAK: Final = re.compile(r"(?i)\s|\\[rn]|%0[ad]")
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
    """Return a sentence for each kind of change under which it verifies, the likeliest first."""
    found: list[str] = []
    known: set[str] = set()
    timed = case.options.window != _ANY_TIME
    for kind, hint, options, delivery in _changes(case):
        if kind in known:
            continue
        if _verifies(case.provider, options, delivery):
            known.add(kind)
            found.append(hint)
            if kind == _TIME:
                # Whatever else is changed changes nothing.
                break
            continue
        later = replace(options, window=_ANY_TIME)
        if timed and _verifies(case.provider, later, delivery):
            known.add(kind)
            found.append(f"{hint}; its time would be refused all the same")
    return found


def signs_url(case: Case) -> bool:
    """Return whether the URL that arrived is part of what is signed."""
    if case.options.public_url is not None:
        return True
    probe = replace(case.options, public_url=_PROBE)
    return _signed(case.provider, case.options, case.delivery) != _signed(
        case.provider, probe, case.delivery
    )


def _signed(provider: Provider, options: EndpointOptions, delivery: Delivery) -> object:
    """Return what is verified, or why it does not come as far."""
    texts: list[SignedText] = []
    try:
        provider.bind(options).verify(delivery, texts.append)
    except Refusal as refusal:
        return texts or refusal.detail
    except ValueError as error:
        return str(error)
    return texts


def _verifies(
    provider: Provider, options: EndpointOptions, delivery: Delivery
) -> Verification | None:
    try:
        return provider.bind(options).verify(delivery)
    except (Refusal, ValueError):
        return None


#: The kind of a change, of which one hint is enough; the hint; and what is tried.
_Change = tuple[str, str, EndpointOptions, Delivery]


def _changes(case: Case) -> Iterator[_Change]:
    options, delivery = case.options, case.delivery
    yield (
        _TIME,
        "all is right but its time: see `timestamp`, and the clocks",
        replace(options, window=_ANY_TIME),
        delivery,
    )
    for name, changed in (
        ("order_id_pattern", replace(options, order_id_pattern=None)),
        ("partner_id", replace(options, partner_id=None)),
        ("merchant_id", replace(options, merchant_id=None)),
        ("must", replace(options, must=())),
    ):
        if changed != options:
            yield name, f"all is right but `{name}`", changed, delivery
    yield from _secrets(case)
    yield from _headers(case)
    yield from _bodies(case)
    if signs_url(case):
        yield from _urls(case)


def _secrets(case: Case) -> Iterator[_Change]:
    for where, secrets in case.other_secrets.items():
        hint = f"it is signed for {where}: that secret fits, this endpoint's do not"
        yield where, hint, replace(case.options, secrets=secrets), case.delivery
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
                yield "secret", f"secrets.{position} fits {hint}", changed, case.delivery


def _urls(case: Case) -> Iterator[_Change]:
    options = case.options
    if options.public_url is not None:
        without = replace(options, public_url=None)
        yield "public_url", "it fits without public_url", without, case.delivery
    for url in dict.fromkeys((*_public_urls(case), *case.other_urls)):
        if url != options.public_url:
            hint = f"it fits with public_url: {url}"
            yield "public_url", hint, replace(options, public_url=url), case.delivery


def _public_urls(case: Case) -> Iterator[str]:
    """Yield URLs that may be registered at the sender."""
    head, own = case.delivery.head, case.options.public_url
    known = [urlsplit(url) for url in (*case.other_urls, own or "")]
    hosts = [value for name in _FORWARDED_HOSTS for value in head.headers.values(name)]
    hosts += [found[1] for text in head.headers.values("Forwarded") for found in _HOST(text)]
    hosts += [each.netloc for each in known]
    # A front that adds a port is more usual than a sender that calls one.
    bare = [host.rpartition(":")[0] for host in hosts if _PORT.search(host)]
    ports = [f":{port}" for port in head.headers.values("X-Forwarded-Port")] + [":443", ":8443"]
    hosts = [*bare, *hosts, *(host + port for host in (*bare, *hosts) for port in ports)]
    remainder = case.delivery.remainder
    path = head.path.removesuffix(remainder) if remainder else head.target
    prefixes = ("", *head.headers.values("X-Forwarded-Prefix"))
    paths = [*head.headers.values("X-Original-URI"), *(each + path for each in prefixes)]
    paths += [each.path for each in known]
    # What stands before or behind it may come from the way.
    parts = path.partition("?")[0].split("/")
    paths += ["/".join(parts), *("/" + "/".join(parts[at:]) for at in range(2, len(parts)))]
    if remainder:
        paths.append("")
    for scheme, host, each in product(
        ("https", "http"), dict.fromkeys(hosts), dict.fromkeys(paths)
    ):
        if host:
            yield f"{scheme}://{host}{each}"


def _headers(case: Case) -> Iterator[_Change]:
    headers = case.delivery.head.headers
    yield from _renamed(case)
    names = dict.fromkeys(name.lower() for name, _ in headers)
    own = {name.lower() for name in case.provider.info.headers}
    for name in names:
        values = headers.values(name)
        for at in range(len(values) if len(values) > 1 else 0):
            hint = f"it fits with number {at + 1} of its {len(values)} fields {name} alone"
            yield name, hint, case.options, _with_field(case.delivery, name, values[at])
        spellings = _spellings(values[0]) if name in own else ()
        for how, other in spellings:
            if other not in {"", values[0]}:
                hint = f"it fits with {name} {how}"
                yield name, hint, case.options, _with_field(case.delivery, name, other)


def _renamed(case: Case) -> Iterator[_Change]:
    """Yield it with the fields that its sender sends, where they came under other names."""
    headers = case.delivery.head.headers
    fields, found = list(headers), []
    for wanted in case.provider.info.headers:
        if headers.values(wanted):
            continue
        for at, (name, value) in enumerate(fields):
            if name.lower().replace("_", "-").endswith(wanted.lower()):
                fields[at] = (wanted, value)
                found.append(f"{wanted} (it came as {name})")
                break
    if found:
        hint = f"it fits with {', '.join(found)}: something on the way renames header fields"
        head = replace(case.delivery.head, headers=Headers(tuple(fields)))
        yield "renamed", hint, case.options, replace(case.delivery, head=head)


def _spellings(value: str) -> Iterator[tuple[str, str]]:
    """Yield how else a signature may have been spelled, and that."""
    yield "in lower case, or without quotes", value.strip("\"'")
    yield "in lower case, or without quotes", value.lower()
    parts = [part.strip() for part in value.split(",")]
    if len(parts) > 1:
        for number, part in enumerate(parts, 1):
            yield f"as number {number} of the {len(parts)} values that are joined in it", part
    # What an Authorization says before its signature stays.
    before, mark, signature = value.rpartition("Signature=")
    before += mark
    yield "without the line breaks in it", before + _BREAK.sub("", signature)
    yield "with its percent-encoding undone", before + unquote(signature)
    yield "with + for its blanks", before + signature.replace(" ", "+")
    standard = signature.replace("-", "+").replace("_", "/")
    yield "with + and / for - and _", before + standard
    padded = standard.rstrip("=") + "=" * (-len(standard.rstrip("=")) % 4)
    yield "with the = behind it that it has lost", before + padded


def _with_field(delivery: Delivery, name: str, value: str) -> Delivery:
    others = tuple(item for item in delivery.head.headers if item[0].lower() != name)
    return replace(delivery, head=replace(delivery.head, headers=Headers((*others, (name, value)))))


def _bodies(case: Case) -> Iterator[_Change]:
    for hint, body in rewritten(case.delivery.body):
        if body != case.delivery.body:
            change = f"it fits the body {hint}: something on the way rewrites bodies"
            yield "body", change, case.options, replace(case.delivery, body=body)
