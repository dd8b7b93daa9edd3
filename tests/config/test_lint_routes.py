"""Routes that decide by what is not signed, never match, or change nothing."""

import pytest

from tests.config.files import BUILT_IN, GOOD, INLINE, changed, good
from tests.config.lints import findings

LEDGER = ('webhooks"}\n', 'webhooks"}\n  ledger: {url: "http://127.0.0.1:8082/"}\n')
PROVIDER = changed(LEDGER, (BUILT_IN, INLINE))
SIGNED = 'signed: "{timestamp}.{body}"'

_NOT_OF_TOKENS = ("algorithm:", "encoding:", "format:", "signed:", "timestamp:")
TOKEN = "".join(
    line
    for line in PROVIDER.replace("scheme: hmac", "scheme: token").splitlines(keepends=True)
    if not line.strip().startswith(_NOT_OF_TOKENS)
)

# Its routes begin in line 15, and each begins in column 10.
MIDTRANS = changed(LEDGER) + "    routes:\n"


def said_of(*routes: str, text: str = MIDTRANS) -> list[str]:
    """Return what is said of these routes, from the number of each on."""
    lines = "".join(f"      - {each}\n" for each in routes)
    found = findings(good(text + lines))
    return [each.partition("routes.")[2] for each in found if "routes." in each]


def route(when: str, upstreams: str = "ledger") -> str:
    return f"{{when: {{{when}}}, upstreams: [{upstreams}]}}"


# ---- fields that are not signed -------------------------------------------------------------


def unsigned(name: str) -> str:
    return (
        f"{name} is not signed: who has one signed message can send it elsewhere with another"
        " value; choose by a signed field, or let no upstream rely on it [route-unsigned]"
    )


def test_a_signature_over_fields_covers_those_alone() -> None:
    assert said_of(route("json: /order_id, is: a"), route("json: /status_code, is: 200")) == []
    assert said_of(route("json: /transaction_status, is: deny"), route("header: X-A, is: b")) == [
        f"0.when.json: {unsigned('/transaction_status')}",
        f"1.when.header: {unsigned('X-A')}",
    ]


@pytest.mark.parametrize(
    ("signed", "said"),
    [
        (SIGNED, [f"1.when.header: {unsigned('X-Kind')}"]),
        ('signed: "{timestamp}.{header:x-kind}.{body}"', []),
        (
            'signed: "{timestamp}.{json:/id}"',
            [f"0.when.json: {unsigned('/kind')}", f"1.when.header: {unsigned('X-Kind')}"],
        ),
        ('signed: "{timestamp}.{json:/kind}"', [f"1.when.header: {unsigned('X-Kind')}"]),
    ],
)
def test_a_described_signature_covers_what_it_says(signed: str, said: list[str]) -> None:
    text = PROVIDER.replace(SIGNED, signed) + "    routes:\n"
    assert said_of(route("json: /kind, is: a"), route("header: X-Kind, is: b"), text=text) == said


def test_where_nothing_is_signed_no_field_is_less_sure_than_another() -> None:
    address = PROVIDER.replace('["${env:KEY}"]', "[]") + "    unsigned: accept\n"
    for text in (TOKEN, address):
        assert said_of(route("header: X-Kind, is: b"), text=f"{text}    routes:\n") == []


def test_a_field_that_may_hold_a_token() -> None:
    said = (
        "may hold the sender's token, which is kept nowhere: a refusal that is released takes"
        " another route; choose by another field [route-token]"
    )
    found = said_of(route("header: authorization, is: a"), route("header: Cookie, is: b"))
    assert found == [f"0.when.header: {said}", f"1.when.header: {said}"]
    text = TOKEN + "    routes:\n"
    assert said_of(route("header: x-hub-signature-256, is: a"), text=text) == [
        f"0.when.header: {said}"
    ]


def test_a_route_by_a_token_that_is_masked() -> None:
    text = TOKEN.replace("header: X-Hub-Signature-256", "json: /t") + "    routes:\n"
    assert said_of(route("json: /t, is: a"), text=text) == [
        (
            "0.when.json: is the sender's token, which is masked before a route is chosen: nothing"
            " matches; choose by another field [route-token]"
        )
    ]


# ---- routes that never match ----------------------------------------------------------------


def never(named: str, values: str, place: str) -> str:
    return (
        f"never matches: {named} that is {values} is taken before, by the route at {place}; leave"
        " it out [route-never]"
    )


def test_a_value_that_an_earlier_route_takes() -> None:
    assert said_of(
        route("json: /order_id, in: [a, b]"),
        route("json: /order_id, is: c", ""),
        route("json: /order_id, in: [c, b]"),
        route("json: /order_id, in: [b, d, d]"),
        route("json: /status_code, is: b"),
    ) == [
        f"2.when: {never('/order_id', 'c or b', '16:16 and 15:16')}",
        f"3.when.in.0: {never('/order_id', 'b', '15:16')}",
        "3.when.in.2: d stands there already; write it once [route-never]",
    ]


def test_names_of_header_fields_have_no_case() -> None:
    text = PROVIDER.replace(SIGNED, 'signed: "{timestamp}.{header:x-kind}.{body}"')
    found = said_of(
        route("header: X-Kind, is: a"),
        route("header: x-kind, is: a", ""),
        route("header: X-KIND, is: A", ""),
        text=f"{text}    routes:\n",
    )
    assert [each.partition(":")[0] for each in found] == ["1.when"]


def test_what_no_message_holds() -> None:
    blank = "never matches: a header field has no blanks around its value [route-never]"
    text = PROVIDER.replace(SIGNED, 'signed: "{timestamp}.{header:x-kind}.{body}"')
    assert said_of(
        route('header: X-Kind, is: "a "'),
        route('header: X-Kind, in: [b, " c"]'),
        route('json: /a, is: " d"'),
        route("json: /items/*/kind, is: e"),
        text=f"{text}    routes:\n",
    ) == [
        f"0.when.is: {blank}",
        f"1.when.in.1: {blank}",
        (
            "3.when.json: * is a key of that name here, and not each element; write the number of"
            " an element, such as /0 [route-never]"
        ),
    ]


# ---- routes that change nothing -------------------------------------------------------------

NOTHING = (
    "changes nothing: such events go there without it; leave it out, or name others"
    " [route-without-effect]"
)


def test_a_route_to_where_events_go_anyway() -> None:
    assert said_of(route("json: /order_id, is: a", "billing")) == [f"0.upstreams: {NOTHING}"]
    # Other routes take none of its events.
    assert said_of(route("json: /order_id, is: a", "billing"), route("json: /order_id, is: b")) == [
        f"0.upstreams: {NOTHING}"
    ]


def test_a_route_that_keeps_events_from_a_later_one() -> None:
    assert (
        said_of(route("json: /order_id, is: a", "billing"), route("json: /status_code, is: 200"))
        == []
    )


def test_without_routes_there_is_nothing_to_say() -> None:
    assert findings(good(GOOD)) == []
