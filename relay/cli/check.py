"""`relay check`: validate, explain and lint a configuration. `relay schema`: its JSON Schema."""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from relay.admin.serializers import rfc3339
from relay.allowlist import Answer, Family, LookupResult, Mode
from relay.allowlist.dns_answers import admissible
from relay.app.builder import expected_sources, resolver
from relay.app.spools import KEYS, check_keys, rows_by_key, sealing_keys, unserved_upstreams
from relay.cli.check_connect import print_tried, try_upstreams
from relay.cli.check_destinations import (
    destination_rows,
    destinations,
    print_upstreams,
    upstream_summary,
)
from relay.cli.check_replay import print_replay, replay_span, replay_stored
from relay.cli.common import (
    CONFIG,
    DEFAULT_CONFIG,
)
from relay.cli.output import (
    FORMAT,
    Format,
    complain,
    print_json,
    print_table,
)
from relay.cli.progress import progress
from relay.config import Endpoint, Settings, load, provider_of, senders
from relay.config.certificate_files import Certificate, read_authorities, read_certificate
from relay.config.lint import Finding, lint, located
from relay.config.lint_machine import machine_advice
from relay.config.lint_topology import Advice
from relay.config.listener_settings import Listener
from relay.config.loader import text
from relay.config.settings import SqliteSpool
from relay.config.spool_place import PATH, chosen
from relay.core.clock import SystemClock
from relay.core.errors import ConfigError, SpoolUnavailable
from relay.providers import ProviderInfo

_OTHERS = {
    Mode.ENFORCE: "refused",
    Mode.REPORT: "may send too, and are counted",
    Mode.OFF: "may send too",
}
#: The provider whose messages about subscriptions are not signed.
_MIDTRANS = "midtrans"
_PROXY_PROTOCOL = {
    True: "required, v1 or v2, and only from trusted_proxies",
    False: "off",
}
_UNANSWERED = {
    "hold": "held when give_up_after is over",
    "deliver": "sent unconfirmed after confirm.wait, or half of give_up_after if that is sooner",
}


def check(
    config: CONFIG = DEFAULT_CONFIG,
    *,
    resolve: Annotated[bool, typer.Option("--resolve", help="Also ask DNS.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 1 when there are warnings.")
    ] = False,
    replayed: Annotated[
        str | None,
        typer.Option(
            "--replay",
            metavar="7d",
            help="Judge what came in this time, and is stored, by this file.",
        ),
    ] = None,
    connect: Annotated[
        bool, typer.Option("--connect", help="Also try each upstream, without an event.")
    ] = False,
    form: FORMAT = Format.TEXT,
) -> None:
    """Validate and explain a configuration; warnings go to standard error, or into the JSON.

    0 fine, also with warnings; 1 a host name of --resolve has no addresses, a stored delivery
    would be taken otherwise (--replay), an upstream cannot be reached (--connect), or warnings
    with --strict; 2 mistakes.

    Example: relay check --resolve --strict
    """
    span = None if replayed is None else replay_span(replayed)
    try:
        settings = load(config, os.environ)
        keys = key_findings(settings)
    except ConfigError as error:
        complain(str(error))
        if form is Format.JSON:
            print_json({"valid": False, "problems": list(error.problems)})
        raise typer.Exit(2) from None
    info, today = info_in_use(settings), SystemClock().now().date()
    findings = (
        *lint(settings, info, certificates_in_use(settings), today, machine_advice(settings)),
        *unserved(settings),
        *keys,
    )
    hosts = asyncio.run(look_up_hosts(settings)) if resolve else []
    tried = try_upstreams(settings) if connect else []
    came_of = None if span is None else replay_stored(settings, span)
    if form is Format.JSON:
        told = as_json(settings, info, findings) | {"hosts": hosts}
        told |= {"connect": tried} if connect else {}
        print_json(told if came_of is None else told | {"replay": came_of})
    else:
        print_text(settings, info)
        if resolve:
            columns = ("host", "result", "addresses")
            print_table(
                columns, [(h["host"], h["result"], ", ".join(h["addresses"])) for h in hosts]
            )
        print_tried(tried)
        if came_of is not None:
            print_replay(came_of)
        for finding in findings:
            complain(str(finding))
    unresolved = any(host["result"] != LookupResult.OK for host in hosts)
    changed = came_of is not None and any(came_of["summary"].values())
    unreached = not all(each["ok"] for each in tried)
    failed = unresolved or changed or unreached or (strict and findings)
    raise typer.Exit(1 if failed else 0)


def schema() -> None:
    """Print the JSON Schema of the configuration file.

    Example: relay schema > relay.schema.json
    """
    sys.stdout.write(text())


def info_in_use(settings: Settings) -> dict[str, ProviderInfo]:
    """Return the info of each endpoint's provider, by the endpoint's name."""
    return {endpoint.name: provider_of(endpoint).info for endpoint in settings.endpoints}


def certificates_in_use(settings: Settings) -> dict[Path, Certificate]:
    """Return the certificates of listeners and upstreams, by file; of an authority's, the last.

    What TLS takes and cannot be read here is left out.
    """
    own = {each.tls.certificate for each in settings.listen if each.tls is not None}
    own |= {each.tls.certificate for each in settings.upstreams.values() if each.tls.certificate}
    trusted = {each.tls.ca for each in settings.upstreams.values() if each.tls.ca} - own
    found = {}
    for path in sorted(own | trusted):
        with suppress(OSError, ValueError):
            found[path] = read_certificate(path) if path in own else read_authorities(path)
    return found


def unserved(settings: Settings) -> list[Finding]:
    """Return a finding for each upstream that events wait for and that is not configured."""
    try:
        waiting = unserved_upstreams(settings)
    except SpoolUnavailable:
        # There is none yet, or it is not for this user to read: it is no mistake in the file.
        return []
    found = []
    for name, since in sorted(waiting.items()):
        message = (
            f'events wait for "{name}" since {rfc3339(since)}, and it is not configured: name it'
            " again"
        )
        found.append(located(settings, Advice(("upstreams",), "upstream_missing", message)))
    return found


def key_findings(settings: Settings) -> list[Finding]:
    """Return a finding for each key of the spool that nothing needs any more.

    Raises:
        ConfigError: rows need a key that is not named.
    """
    try:
        rows = rows_by_key(settings)
    except SpoolUnavailable:
        return []
    keys = sealing_keys(settings)
    check_keys(settings, rows)
    message = "nothing is sealed with this key: leave it out, unless it is to become the first"
    return [
        located(settings, Advice((*KEYS, at), "key-unused", message))
        for at, key in enumerate(keys)
        if at and not rows.get(key.fingerprint)
    ]


async def look_up_hosts(settings: Settings) -> list[dict[str, Any]]:
    """Look up every host name in use; return the results with the admissible addresses."""
    names = {host for each in settings.endpoints for host in expected_sources(each).hosts}
    asks = resolver(settings)
    found = []
    with progress("looked up", len(names)) as counter:
        for name in sorted(names):
            found.append(_found(name, await asks.look_up(name)))
            counter.add()
    return found


def _found(name: str, answers: Mapping[Family, Answer]) -> dict[str, Any]:
    result, addresses = admissible(answers)
    return {
        "host": name,
        "result": result.value,
        "addresses": [str(address) for address in addresses],
    }


def explanation(endpoint: Endpoint, info: ProviderInfo, settings: Settings) -> dict[str, Any]:
    """Return the explanation of an endpoint: senders, verification, upstream, confirmation."""
    allowed = senders(endpoint, info.environments[endpoint.environment])
    return {
        "name": endpoint.name,
        "path": endpoint.path,
        "provider": info.name,
        "environment": endpoint.environment,
        "mode": endpoint.mode,
        "senders": {
            "mode": endpoint.allowlist.mode,
            "networks": len(allowed.networks),
            "origins": dict(Counter(entry.origin for entry in allowed.networks)),
            "hosts": list(allowed.hosts),
        },
        "verified": {
            "secrets": len(endpoint.secrets),
            "signature": info.signature if endpoint.secrets else None,
        },
        "challenges": list(info.challenges),
        **destinations(endpoint, settings),
        "confirm": _confirm(endpoint, info),
        "subscriptions": _subscriptions(endpoint, settings),
    }


def _subscriptions(endpoint: Endpoint, settings: Settings) -> str | None:
    """Return what becomes of Midtrans' messages about subscriptions here; None elsewhere.

    They carry no signature: `taken`, `refused`, or the name of the endpoint that takes them.
    """
    if endpoint.provider != _MIDTRANS:
        return None
    if not endpoint.secrets:
        return "taken"
    others = (
        each.name
        for each in settings.endpoints
        if each.provider == _MIDTRANS
        and each.environment == endpoint.environment
        and not each.secrets
    )
    return next(others, "refused")


def _confirm(endpoint: Endpoint, info: ProviderInfo) -> dict[str, Any] | None:
    """Return how events are confirmed before delivery; None when they are not."""
    confirm = endpoint.confirm
    if confirm is None:
        return None
    return {
        "with": confirm.with_,
        "url": confirm.url or info.environments[endpoint.environment].status_api,
        "rate": confirm.rate,
        "on_error": confirm.on_error,
    }


def _spool(settings: Settings) -> dict[str, Any] | None:
    """Return where the spool lies, why there, and the fingerprints of its keys, if any.

    None where it is no file.
    """
    if not isinstance(settings.spool, SqliteSpool):
        return None
    source = settings.source
    why = "spool.path" if PATH in source.values else chosen(os.environ, source.base).why
    keys = [key.fingerprint for key in sealing_keys(settings)]
    place = {"path": str(settings.spool.path), "chosen_by": why}
    return place | ({"sealed_with": keys} if keys else {})


def _listener(listener: Listener) -> dict[str, Any]:
    return {
        "bind": str(listener.bind),
        "tls": listener.tls is not None,
        "proxy_protocol": listener.proxy_protocol,
    }


def as_json(
    settings: Settings, info: dict[str, ProviderInfo], findings: Sequence[Finding]
) -> dict[str, Any]:
    """Return the whole report as one JSON document."""
    return {
        "valid": True,
        "file": settings.source.file,
        "listeners": [_listener(each) for each in settings.listen],
        "spool": _spool(settings),
        "upstreams": [upstream_summary(*each) for each in settings.upstreams.items()],
        "endpoints": [explanation(each, info[each.name], settings) for each in settings.endpoints],
        "findings": list(findings),
    }


def print_text(settings: Settings, info: dict[str, ProviderInfo]) -> None:
    """Print the explanation as text: a table for each part of the configuration."""
    for listener in map(_listener, settings.listen):
        print_table(
            ("listener", listener["bind"]),
            [
                ("speaks", "HTTPS" if listener["tls"] else "HTTP, not encrypted"),
                ("PROXY protocol", _PROXY_PROTOCOL[listener["proxy_protocol"]]),
            ],
        )
    if (spool := _spool(settings)) is not None:
        keys = [("sealed with", key) for key in spool.get("sealed_with", ())]
        print_table(("spool", spool["path"]), [("chosen by", spool["chosen_by"]), *keys])
    print_upstreams(settings)
    for endpoint in settings.endpoints:
        known = info[endpoint.name]
        found = explanation(endpoint, known, settings)
        print_table(
            ("endpoint", found["name"]),
            [
                ("path", found["path"]),
                ("provider", f"{known.title}, {found['environment']}"),
                *_senders(found["senders"]),
                ("verified by", _verified(found["verified"])),
                *(("challenge", each) for each in found["challenges"]),
                *_confirmed(found["confirm"], known, endpoint),
                *_about_subscriptions(found["subscriptions"]),
                *destination_rows(endpoint, settings),
            ],
        )


def _senders(found: dict[str, Any]) -> list[tuple[str, str]]:
    parts = [
        f"{_count(number, 'network')}: {origin}" for origin, number in found["origins"].items()
    ]
    if found["hosts"]:
        parts.append(f"{_count(len(found['hosts']), 'host name')}: {', '.join(found['hosts'])}")
    return [("other addresses", _OTHERS[found["mode"]]), *(("may send", part) for part in parts)]


def _verified(found: dict[str, Any]) -> str:
    if not found["secrets"]:
        return "address only; unsigned deliveries are accepted"
    return f"{_count(found['secrets'], 'secret')}; {found['signature']}"


def _confirmed(
    found: dict[str, Any] | None, info: ProviderInfo, endpoint: Endpoint
) -> list[tuple[str, str]]:
    if found is not None:
        said = f"GET {found['with']} at {found['url']}, at most {found['rate']} a second"
        return [("confirmed by", f"{said}; without an answer, {_UNANSWERED[found['on_error']]}")]
    if info.environments[endpoint.environment].status_api is None:
        return []
    return [("confirmed by", "nobody is asked before delivery")]


def _about_subscriptions(found: str | None) -> list[tuple[str, str]]:
    if found is None:
        return []
    said = {
        "taken": "taken as they come, for Midtrans does not sign them",
        "refused": "refused, for Midtrans does not sign them; if you have some, give them an"
        " endpoint of their own with secrets: [] and unsigned: accept",
    }
    return [("subscriptions", said.get(found, f"belong to the endpoint {found}"))]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
