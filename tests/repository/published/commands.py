"""What the commands exit with and print, beside a spool that a relay has left behind."""

import json
import re
from pathlib import Path

from tests.repository.published.relay import Commands, Result
from tests.repository.published.senders import ALLOWED, STRANGER
from tests.repository.published.shapes import shape

_BROKEN = "listen: [{bind: 127.0.0.1}]\n"


async def exits(commands: Commands, directory: Path, genuine: bytes) -> dict[str, object]:
    """Return exit code and what is printed, by command: shapes of JSON, first lines of the rest.

    directory: with `relay.yaml` and its spool. genuine: a request that would be accepted, raw.
    """
    (directory / "genuine.http").write_bytes(genuine)
    (directory / "strange.http").write_bytes(genuine.replace(ALLOWED.encode(), STRANGER.encode()))
    (directory / "broken.yaml").write_text(_BROKEN)
    minimal = directory / "relay.yaml"
    empty = minimal.read_text().replace("relay.db", "nothing-here.db")
    (directory / "empty.yaml").write_text(empty)
    event, refusal = await _newest(commands, "events"), await _newest(commands, "refusals")
    found: dict[str, object] = {}
    for line in _LINES:
        words = line.format(event=event, refusal=refusal).split()
        found[line] = _told(await commands.run(*words))
    return found


_LINES = (
    "",
    "version",
    "version --format json",
    "no-such-verb",
    "version --no-such-option",
    "migrate --format json",
    "backup copy.db --format json",
    "backup relay.yaml",
    "check",
    "check --format json",
    "check -c broken.yaml",
    "check -c broken.yaml --format json",
    "check -c missing.yaml",
    "run -c broken.yaml",
    "reload -c broken.yaml",
    "reload",
    "providers list",
    "providers list --format json",
    "providers show vipps --format json",
    "providers show github --format json",
    "providers show nobody",
    "explain genuine.http --peer 127.0.0.1 --format json",
    "explain strange.http --peer 127.0.0.1 --format json",
    "explain missing.http",
    "send nobody --to http://127.0.0.1:1/",
    "send midtrans --to http://127.0.0.1:1/ --secret key",
    "send --endpoint nobody",
    "init",
    "sink --bind nonsense",
    "allowlist show",
    "allowlist show --format json",
    "allowlist check 34.101.68.130 --endpoint midtrans --format json",
    "allowlist check 203.0.113.66 --endpoint midtrans --format json",
    "allowlist check nonsense",
    "allowlist diff --against http://127.0.0.1:1",
    "allowlist export --endpoint midtrans",
    "allowlist export --endpoint midtrans --format nftables",
    "allowlist export --endpoint midtrans --format nginx",
    "allowlist export --endpoint midtrans --format haproxy",
    "events list",
    "events list --format json",
    "events list --status none",
    "events list -c empty.yaml",
    "events show {event} --format json",
    "events show none",
    "events export --limit 1",
    "events requeue {event} --format json",
    "events requeue none",
    "events requeue",
    "refusals list",
    "refusals list --format json",
    "refusals show {refusal} --format json",
    "refusals show none",
    "refusals release {refusal} --format json",
    "refusals release none",
    "reconcile missing.txt --endpoint midtrans",
    "reconcile missing.txt --endpoint nobody",
)


async def _newest(commands: Commands, kind: str) -> str:
    """Return the id of the newest delivered event, or of the newest refusal."""
    chosen = ("--status", "delivered") if kind == "events" else ()
    done = await commands.run(kind, "list", "--endpoint", "midtrans", *chosen, "--format", "json")
    return str(json.loads(done.out)[kind][0]["id"])


def _told(result: Result) -> object:
    try:
        printed: object = shape(json.loads(result.out))
    except ValueError:
        printed = result.out.partition("\n")[0].expandtabs(1)
        # What may be written in place of what is wrong is told at the end of a line.
        if (listed := re.search(r"there are: (.*)$", result.err, re.MULTILINE)) is not None:
            printed = f"there are: {listed[1]}"
    return {f"exit {result.code}": printed}
