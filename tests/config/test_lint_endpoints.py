"""What a valid endpoint says that its author may not have meant."""

import pytest

from relay.cli.demo.services import asymmetric
from relay.config.lint import lint
from tests.config.files import BUILT_IN, ENVIRON, GOOD, INLINE, VIPPS, changed, good
from tests.config.lints import TODAY, allowlist, findings, info


@pytest.mark.parametrize(
    ("text", "said"),
    [
        # the sandbox on production
        (
            allowlist("{add: [34.101.68.130]}"),
            [
                (
                    "13:23: warning: endpoints.0.allowlist.add.0: belongs to midtrans sandbox, and"
                    " this endpoint is production [sandbox-address]"
                )
            ],
        ),
        (
            allowlist("{replace: [103.208.23.0/24, 8.215.9.206, 149.129.216.115]}"),
            [
                (
                    "13:57: warning: endpoints.0.allowlist.replace.2: belongs to midtrans sandbox,"
                    " and this endpoint is production [sandbox-address]"
                )
            ],
        ),
        (
            GOOD + VIPPS + "    allowlist: {add: [callback-mt-1.vipps.no]}\n",
            [
                (
                    "19:23: warning: endpoints.1.allowlist.add.0: belongs to vipps test, and this"
                    " endpoint is production [sandbox-address]"
                )
            ],
        ),
        # addresses
        (
            allowlist("{add: [103.58.103.177]}"),
            [
                (
                    "13:23: warning: endpoints.0.allowlist.add.0: Midtrans withdrew 103.58.103.177"
                    " on 2022-03-15; leave it out [withdrawn-address]"
                )
            ],
        ),
        (
            allowlist("{add: [103.58.103.0/24]}"),
            [
                (
                    "13:23: warning: endpoints.0.allowlist.add.0: Midtrans withdrew 103.58.103.177"
                    " on 2022-03-15; leave it out [withdrawn-address]"
                )
            ],
        ),
        (
            allowlist('{add: ["0.0.0.0/0"]}'),
            [
                (
                    "13:23: warning: endpoints.0.allowlist.add.0: 0.0.0.0/0 lets every address send"
                    " [everyone]"
                )
            ],
        ),
        (
            allowlist('{add: ["::/0"]}'),
            [
                (
                    "13:23: warning: endpoints.0.allowlist.add.0: ::/0 lets every address send"
                    " [everyone]"
                )
            ],
        ),
        (
            allowlist('{add: ["128.0.0.0/1"], replace: ["0.0.0.0/2", "64.0.0.0/2"]}'),
            [
                (
                    "3:19: warning: trusted_proxies.0: 127.0.0.1/32 is taken for a proxy's, and"
                    " midtrans may be sent to from there; what comes from there by itself is"
                    " refused, so name your own proxies only [sender-trusted]"
                ),
                (
                    "13:16: warning: endpoints.0.allowlist: the networks together let half of all"
                    " IPv4 addresses or more send; name those of the sender [everyone]"
                ),
                (
                    "13:62: warning: endpoints.0.allowlist.replace.1: Midtrans withdrew"
                    " 103.58.103.177 on 2022-03-15; leave it out [withdrawn-address]"
                ),
            ],
        ),
        (
            allowlist('{add: ["0.0.0.0/0", "2000::/4", "3000::/4"], replace: []}'),
            [
                (
                    "13:16: warning: endpoints.0.allowlist: the networks together let half of all"
                    " IPv6 addresses or more send; name those of the sender [everyone]"
                ),
                (
                    "13:23: warning: endpoints.0.allowlist.add.0: 0.0.0.0/0 lets every address send"
                    " [everyone]"
                ),
            ],
        ),
        (
            allowlist("{add: [198.51.100.0/25, 198.51.100.7, 198.51.100.0/24]}"),
            [
                (
                    "13:23: warning: endpoints.0.allowlist.add.0: is already within"
                    " 198.51.100.0/24; remove it [redundant-network]"
                ),
                (
                    "13:40: warning: endpoints.0.allowlist.add.1: is already within"
                    " 198.51.100.0/24; remove it [redundant-network]"
                ),
            ],
        ),
        (
            allowlist("{add: [198.51.100.7, x.example, 198.51.100.7]}"),
            [
                (
                    "13:48: warning: endpoints.0.allowlist.add.2: is already within"
                    " 198.51.100.7/32; remove it [redundant-network]"
                )
            ],
        ),
        (
            allowlist("{add: [103.208.23.9]}"),
            [
                (
                    "13:23: warning: endpoints.0.allowlist.add.0: is already within"
                    " 103.208.23.0/24; remove it [redundant-network]"
                )
            ],
        ),
        (
            allowlist("{add: [8.215.30.222]}"),
            [
                (
                    "13:23: warning: endpoints.0.allowlist.add.0: is already within"
                    " 8.215.30.222/32; remove it [redundant-network]"
                )
            ],
        ),
        (
            allowlist("{replace: [103.208.23.0/24], add: [103.208.23.9]}"),
            [
                (
                    "13:51: warning: endpoints.0.allowlist.add.0: is already within"
                    " 103.208.23.0/24; remove it [redundant-network]"
                )
            ],
        ),
        # the mode
        (
            allowlist("{mode: off}"),
            [
                (
                    "13:23: warning: endpoints.0.allowlist.mode: anybody may send; only the"
                    " signature is checked [allowlist-off]"
                )
            ],
        ),
        (
            allowlist("{mode: report}"),
            [
                (
                    "13:23: warning: endpoints.0.allowlist.mode: anybody may send, and other"
                    " addresses are only counted; enforce refuses them [allowlist-report]"
                )
            ],
        ),
        # secrets
        (
            GOOD.replace('"${env:KEY}"', '"${env:KEY}", abc'),
            [
                (
                    "11:29: warning: endpoints.0.secrets.1: a secret stands in the file; write"
                    " ${env:NAME} or ${file:PATH} [literal-secret]"
                )
            ],
        ),
        # hosts
        (
            GOOD
            + VIPPS
            + (
                "    allowlist: {replace: [callback-1.vipps.no, callback-2.vipps.no,"
                " callback-3.vipps.no, callback-4.vipps.no], add: [callback-dr-4.vipps.no]}\n"
            ),
            [
                (
                    "19:26: warning: endpoints.1.allowlist.replace: leaves out"
                    " callback-dr-1.vipps.no, callback-dr-2.vipps.no, callback-dr-3.vipps.no of"
                    " vipps production; deliveries from there will be refused [missing-hosts]"
                )
            ],
        ),
    ],
)
def test_findings(text: str, said: list[str]) -> None:
    assert findings(good(text)) == said


def test_a_key_of_the_sandbox_on_production() -> None:
    environ = {**ENVIRON, "KEY": "SB-Mid-server-canary"}
    assert findings(good(GOOD, environ)) == [
        (
            "11:15: warning: endpoints.0.secrets.0: is a server key of the sandbox; production has"
            " another [sandbox-key]"
        )
    ]
    sandbox = changed(("environment: production", "environment: sandbox"))
    assert findings(good(sandbox, environ)) == []


def test_a_provider_that_was_not_reviewed_for_long() -> None:
    second = GOOD.partition("endpoints:\n")[2].replace("midtrans\n", "again\n", 1)
    text = GOOD + second.replace("/midtrans/", "/again/")
    settings = good(text)
    assert len(settings.endpoints) == 2
    known = info(settings)["midtrans"]
    reviewed = known.reviewed
    year_later = reviewed.replace(year=reviewed.year + 1)
    assert findings(settings, year_later) == []
    assert findings(settings, year_later.replace(month=12, day=31)) == [
        (
            "9:15: warning: endpoints.0.provider: what is built in for midtrans was compared with"
            f" {known.document} on {reviewed}, more than a year ago; compare it, or"
            " update the relay [old-review]"
        )
    ]


def test_an_address_that_midtrans_withdrew_is_of_no_concern_to_others() -> None:
    withdrawn = "    allowlist: {add: [103.58.103.177]}\n"
    for text in (GOOD + VIPPS, changed((BUILT_IN, INLINE))):
        assert not any("Midtrans" in line for line in findings(good(text + withdrawn)))
    snap = changed(("provider: midtrans", "provider: midtrans-snap")) + withdrawn
    found = findings(good(snap, {"KEY": asymmetric().verifying}))
    assert any("Midtrans withdrew" in line for line in found)


@pytest.mark.parametrize("networks", ['"0.0.0.0/0"', '"0.0.0.0/1", "128.0.0.0/1"'])
def test_the_networks_of_a_described_provider_are_added_up(networks: str) -> None:
    text = changed((BUILT_IN, INLINE.replace('"192.0.2.0/24"', networks)))
    assert [line for line in findings(good(text)) if "[everyone]" in line] == [
        (
            "10:7: warning: endpoints.0.provider: the networks together let half of all IPv4"
            " addresses or more send; name those of the sender [everyone]"
        )
    ]


def test_a_provider_described_in_the_file_is_linted_like_any_other() -> None:
    text = changed((BUILT_IN, INLINE)) + (
        '    allowlist: {add: ["192.0.2.7", "::/0"], replace: [192.0.2.0/24]}\n'
    )
    environ = {"KEY": "a-secret-that-is-long"}
    found = findings(good(text, environ))
    assert [line.rpartition(" [")[2].rstrip("]") for line in found] == [
        *("redundant-network", "everyone", "missing-hosts"),
    ]
    assert findings(good(changed((BUILT_IN, INLINE)), environ)) == []


def test_three_signed_fields_are_worth_a_question_before_delivery() -> None:
    def said(text: str) -> list[str]:
        settings = good(text)
        found = lint(settings, info(settings), {}, TODAY)
        return [str(each) for each in found if each.code == "unconfirmed"]

    assert said(GOOD) == [
        (
            "relay.yaml:9:15: warning: endpoints.0.provider: its signature covers three fields,"
            " and the status is none of them; confirm: {with: status} asks before delivery"
        )
    ]
    assert said(GOOD + "    confirm: {with: status}\n") == []
    assert said(GOOD + "    mode: proxy\n") == []
    assert len(said(GOOD + VIPPS)) == 1
