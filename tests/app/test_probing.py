"""Trying all upstreams of a configuration: each once, and none holds up the others."""

from pathlib import Path

from relay.app.probing import probe_count, probe_upstreams
from relay.config import load
from tests.cli.conftest import CONFIGURATION
from tests.harness.clock import ManualClock
from tests.harness.upstream import RefusingPort, Upstream, hang

SECRETS = {"MIDTRANS_SERVER_KEY": "SB-Mid-server-x", "VIPPS_SECRET": "a-secret"}


async def test_each_is_tried_and_none_holds_up_the_others(tmp_path: Path) -> None:
    async with Upstream() as upstream, Upstream(hang) as silent:
        with RefusingPort() as closed:
            urls = {"silent": silent.url, "closed": closed}
            urls |= {f"good-{at}": f"{upstream.url}/{at}?canary" for at in range(30)}
            named = (
                f'{name}: {{url: "{url}", timeout: {"300ms" if name == "silent" else "5s"}}}'
                for name, url in urls.items()
            )
            file = tmp_path / "relay.yaml"
            one = '{billing: {url: "http://127.0.0.1:1/"}}'
            text = CONFIGURATION.replace(one, f"{{{', '.join(named)}}}")
            file.write_text(text.replace("upstream: billing", "upstream: silent"))
            settings = load(file, SECRETS)
            counted: list[None] = []
            found = await probe_upstreams(
                settings, {"closed"}, ManualClock(), lambda: counted.append(None)
            )
    assert probe_count(settings) == len(counted) == len(found) == 32
    assert [each.upstream for each in found] == list(urls)
    assert [each.upstream for each in found if not each.ok] == ["silent", "closed"]
    assert [each.upstream for each in found if each.paused] == ["closed"]
    assert {received.method for received in upstream.received} == {"HEAD"}
    assert {each.target for each in upstream.received} == {f"/{at}" for at in range(30)}
    assert "canary" not in repr(found)
