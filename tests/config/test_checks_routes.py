"""Upstreams that endpoints and their routes name."""

import pytest

from tests.config.files import ENVIRON, GOOD, changed, good, mistakes

LEDGER = ('webhooks"}\n', 'webhooks"}\n  ledger: {url: "http://127.0.0.1:8082/"}\n')
ROUTE = "{when: {json: /type, is: a}, upstreams: [ledger]}"


def goes(keys: str) -> str:
    """Return the good text with other keys for where its endpoint's events go, from 13:5 on."""
    return changed(LEDGER, ("upstream: billing", keys))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            "mode: store",
            ['8:5: endpoints.0.upstream: this key is needed, such as upstream: "billing"'],
        ),
        (
            "upstream: billing\n    upstreams: [ledger]",
            [
                (
                    "14:16: endpoints.0.upstreams: has no meaning beside upstream; write one of the"
                    " two"
                )
            ],
        ),
        ("upstreams: []", ["13:16: endpoints.0.upstreams: must hold at least one"]),
        ("upstreams: billing", ["13:16: endpoints.0.upstreams: write a list: [billing]"]),
        (
            "upstream: [billing, ledger]",
            [
                (
                    "13:15: endpoints.0.upstream: is one name; write upstreams: [billing, ledger]"
                    " instead"
                )
            ],
        ),
        (
            "upstream: [billing]",
            [
                (
                    "13:15: endpoints.0.upstream: is one name; write upstream: billing, without"
                    " brackets"
                )
            ],
        ),
        (
            "upstreams: [billing, ledger, billing]",
            [
                (
                    "13:34: endpoints.0.upstreams.2: billing stands there already, and gets each"
                    " event once; leave it out"
                )
            ],
        ),
        (
            "upstreams: [biling, ledgr, x]",
            [
                (
                    '13:17: endpoints.0.upstreams.0: no upstream named "biling"; did you mean'
                    ' "billing"?'
                ),
                '13:25: endpoints.0.upstreams.1: no upstream named "ledgr"; did you mean "ledger"?',
                (
                    '13:32: endpoints.0.upstreams.2: no upstream named "x"; there are: billing,'
                    " ledger"
                ),
            ],
        ),
        (
            f"upstream: billing\n    routes: [{ROUTE.replace(']', ', leger]')}]",
            [
                (
                    '14:63: endpoints.0.routes.0.upstreams.1: no upstream named "leger"; did you'
                    ' mean "ledger"?'
                )
            ],
        ),
        (
            f"upstream: billing\n    routes: [{ROUTE.replace(']', ', ledger]')}]",
            [
                (
                    "14:63: endpoints.0.routes.0.upstreams.1: ledger stands there already, and gets"
                    " each event once; leave it out"
                )
            ],
        ),
    ],
)
def test_where_events_cannot_go(keys: str, said: list[str]) -> None:
    assert mistakes(goes(keys)) == said


def test_where_events_can_go() -> None:
    made = good(goes(f"upstreams: [billing, ledger]\n    routes: [{ROUTE}]")).endpoints[0]
    assert made.default_upstreams == ("billing", "ledger")
    assert made.every_upstream == ("billing", "ledger")
    assert good(GOOD).endpoints[0].default_upstreams == ("billing",)


def test_what_is_passed_on_has_one_upstream() -> None:
    cause = "mode: proxy answers with what one upstream said"
    assert mistakes(
        goes(f"upstreams: [billing, ledger]\n    mode: proxy\n    routes: [{ROUTE}]")
    ) == [
        f"13:16: endpoints.0.upstreams: must hold one: {cause}; write upstream: billing",
        f"15:13: endpoints.0.routes: {cause}; leave routes out",
    ]
    good(goes("upstreams: [billing]\n    mode: proxy"))


CALLBACK = """\
  - name: callbacks
    path: /callbacks
    provider: vipps-callback
    environment: production
    secrets: ["${env:TOKEN}"]
    upstreams: [billing, ledger]
"""


def test_a_provider_that_is_answered_with_what_the_upstream_said() -> None:
    text = changed(LEDGER) + CALLBACK
    path = "/v2/payments/{orderId}/shippingDetails"
    said = f"{path} is answered with what one upstream said"
    assert mistakes(f"{text}    routes: [{ROUTE}]\n") == [
        f"19:16: endpoints.1.upstreams: must hold one: {said}; write upstream: billing",
        f"20:13: endpoints.1.routes: {said}; leave routes out",
    ]


def test_a_product_of_it_that_is_not() -> None:
    good(changed(LEDGER) + CALLBACK + "    callback: checkout\n", ENVIRON)
    # What the provider does not have is one mistake.
    (said,) = mistakes(goes("upstreams: [billing, ledger]\n    callback: checkout"))
    assert "callback" in said
