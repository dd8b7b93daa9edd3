import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core.errors import Reason, Refusal
from relay.core.request import (
    ClientAddress,
    Delivery,
    Headers,
    IngestResult,
    RequestHead,
    Verdict,
    Verification,
    Via,
)
from relay.core.secret import Secret
from relay.ingest.endpoint_paths import EndpointMatch, EndpointPaths
from relay.providers import EndpointOptions, Inspector, Sample, SampleOrder
from relay.providers.vipps.callbacks import PROVIDER
from tests.contracts.proof import with_headers
from tests.contracts.provider import delivery_of, outcome
from tests.harness.deliveries import AnswerContext

TEXT = "Bearer canary-iOiJKV1Qi"
TOKEN = Secret(TEXT)
NOW = datetime(2026, 1, 5, 12, 0, 30, 250_000, tzinfo=UTC)
URL = "https://pay.example.com/vipps/callback"
ORDER = "acme-shop-123-order123abc"
ORDER_PATH = f"/v2/payments/{ORDER}"
CONSENT_PATH = "/v2/consents/1234567"
# Vipps: eCom API guide, callback examples.
REGULAR = {
    "merchantSerialNumber": 123456,
    "orderId": ORDER,
    "transactionInfo": {
        "amount": 20000,
        "status": "RESERVED",
        "timeStamp": "2018-12-12T11:18:38.246Z",
        "transactionId": "5001420062",
    },
}
ADDRESS = {"addressId": 3960, "addressLine1": "Dronning Eufemias gate 42", "postCode": "0191"}
SESSION = {"sessionId": "s-1", "reference": "order-7", "sessionState": "PaymentSuccessful"}
RIGHT = (("Authorization", TEXT),)


def bind(*, callback: str | None = None, enforced: bool = False) -> Inspector:
    return PROVIDER.bind(EndpointOptions(secrets=(TOKEN,), callback=callback, enforced=enforced))


def delivered(
    message: object = REGULAR,
    path: str = ORDER_PATH,
    *,
    method: str = "POST",
    fields: tuple[tuple[str, str], ...] = RIGHT,
    at: datetime = NOW,
) -> Delivery:
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    return delivery_of(Sample(method, path, Headers(fields), body), URL, at)


def consent(
    fields: tuple[tuple[str, str], ...] = (), body: bytes = b"", at: datetime = NOW
) -> Delivery:
    return delivered(body, CONSENT_PATH, method="DELETE", fields=fields, at=at)


def accepted(delivery: Delivery, inspector: Inspector | None = None) -> Verification:
    found = outcome(inspector or bind(), delivery)
    assert isinstance(found, Verification)
    return found


def sha256(message: object) -> str:
    return hashlib.sha256(json.dumps(message).encode()).hexdigest()


# ---- an eCom transaction --------------------------------------------------------------------


def test_a_transaction() -> None:
    verification = accepted(delivered())
    assert verification.key == f"{ORDER}:RESERVED:5001420062"
    assert verification.subject == ORDER
    assert verification.secret == 0


def test_a_token_signs_nothing() -> None:
    assert accepted(delivered()).signed == ()


def test_an_express_transaction_says_reserve() -> None:
    info = {**REGULAR["transactionInfo"], "status": "RESERVE"}  # type: ignore[dict-item]
    message = {**REGULAR, "transactionInfo": info, "userDetails": {"userId": "1234567"}}
    assert accepted(delivered(message)).key == f"{ORDER}:RESERVE:5001420062"


@pytest.mark.parametrize(
    "info",
    [
        None,
        [],
        "RESERVED",
        {},
        {"status": "RESERVED"},
        {"transactionId": "1"},
        {"status": "", "transactionId": "1"},
        {"status": "RESERVED", "transactionId": 1},
        {"status": ["RESERVED"], "transactionId": "1"},
    ],
)
def test_a_transaction_without_an_identity_is_known_by_its_order_and_body(info: object) -> None:
    message = {"orderId": ORDER, "transactionInfo": info}
    assert accepted(delivered(message)).key == f"{ORDER}:sha256:{sha256(message)}"


def test_two_orders_with_one_body_are_two_events() -> None:
    first, second = (accepted(delivered({}, f"/v2/payments/{each}")) for each in ("a", "b"))
    assert first.key != second.key
    assert (first.subject, second.subject) == ("a", "b")


@pytest.mark.parametrize("order_id", ["other", ORDER.upper(), "", 7, [ORDER], {"a": 1}, True])
@pytest.mark.parametrize("path", [ORDER_PATH, ORDER_PATH + "/shippingDetails"])
def test_a_body_that_speaks_of_another_order_is_refused(order_id: object, path: str) -> None:
    found = outcome(bind(), delivered({**REGULAR, "orderId": order_id}, path))
    assert found is Reason.FIELD_INVALID


@pytest.mark.parametrize("message", [{"orderId": None}, {}])
def test_a_body_need_not_name_its_order(message: dict[str, object]) -> None:
    assert accepted(delivered(message)).subject == ORDER


@pytest.mark.parametrize("body", [b"", b"[]", b'"x"', b"{", b'{"a":1,"a":1}', b"\xef\xbb\xbf{}"])
@pytest.mark.parametrize("path", [ORDER_PATH, ORDER_PATH + "/shippingDetails"])
def test_a_body_that_is_no_json_object_is_malformed(body: bytes, path: str) -> None:
    assert outcome(bind(), delivered(body, path)) is Reason.BODY_MALFORMED


# ---- shipping details -----------------------------------------------------------------------


def test_shipping_details_are_asked_for_an_order() -> None:
    verification = accepted(delivered(ADDRESS, ORDER_PATH + "/shippingDetails"))
    assert verification.key == f"{ORDER}:shippingDetails:sha256:{sha256(ADDRESS)}"
    assert (verification.subject, verification.signed, verification.secret) == (ORDER, (), 0)


# ---- a consent ------------------------------------------------------------------------------


def test_a_removed_consent_needs_no_token_where_addresses_are_enforced() -> None:
    verification = accepted(consent(), bind(enforced=True))
    assert verification.key == "consent:1234567:20260105T120030.250000Z"
    assert verification.subject == "consent:1234567"
    assert (verification.signed, verification.secret) == ((), None)


def test_a_removed_consent_needs_the_token_where_anybody_may_call() -> None:
    assert outcome(bind(), consent()) is Reason.SIGNATURE_MISSING
    assert accepted(consent(RIGHT)).secret == 0


def test_only_a_removed_consent_is_excused_from_the_token() -> None:
    inspector = bind(enforced=True)
    for path in (ORDER_PATH, ORDER_PATH + "/shippingDetails"):
        assert outcome(inspector, delivered(path=path, fields=())) is Reason.SIGNATURE_MISSING
    for callback in ("checkout", "express"):
        inspector = bind(callback=callback, enforced=True)
        found = outcome(inspector, delivered(SESSION, "", fields=()))
        assert found is Reason.SIGNATURE_MISSING


@pytest.mark.parametrize("enforced", [True, False])
def test_a_removed_consent_is_held_to_the_token_that_it_brings(enforced: bool) -> None:
    inspector = bind(enforced=enforced)
    assert accepted(consent(RIGHT), inspector).secret == 0
    assert outcome(inspector, consent((("Authorization", ""),))) is Reason.SIGNATURE_MISSING
    assert outcome(inspector, consent(RIGHT * 2)) is Reason.SIGNATURE_MISSING
    assert outcome(inspector, consent((("Authorization", "x"),))) is Reason.SIGNATURE_MISMATCH


@pytest.mark.parametrize("body", [b"{}", b" ", b"null"])
def test_a_removed_consent_has_no_body(body: bytes) -> None:
    for inspector in (bind(enforced=True), PROVIDER.bind(EndpointOptions())):
        assert outcome(inspector, consent(body=body)) is Reason.BODY_MALFORMED


def test_a_consent_that_is_removed_again_is_another_event() -> None:
    later = NOW + timedelta(minutes=1)
    first, second = (accepted(consent(RIGHT, at=at)) for at in (NOW, later))
    assert first.key != second.key
    assert first.subject == second.subject


# ---- Checkout and Express -------------------------------------------------------------------


@pytest.mark.parametrize("callback", ["checkout", "express"])
def test_a_session_of_a_product(callback: str) -> None:
    verification = accepted(delivered(SESSION, ""), bind(callback=callback))
    assert (verification.key, verification.subject) == ("order-7:PaymentSuccessful", "order-7")
    assert (verification.signed, verification.secret) == ((), 0)


@pytest.mark.parametrize(
    ("message", "subject"),
    [
        ({"streetAddress": "Main street 1"}, None),
        ({"reference": "order-7"}, "order-7"),
        ({"reference": 7, "sessionState": "x"}, None),
        ({"reference": "", "sessionState": "x"}, None),
    ],
)
def test_a_session_without_an_identity_is_known_by_its_body(
    message: dict[str, object], subject: str | None
) -> None:
    verification = accepted(delivered(message, ""), bind(callback="express"))
    assert (verification.key, verification.subject) == (f"sha256:{sha256(message)}", subject)


@pytest.mark.parametrize("callback", ["checkout", "express"])
def test_a_product_sends_json_objects(callback: str) -> None:
    assert outcome(bind(callback=callback), delivered(b"[]", "")) is Reason.BODY_MALFORMED


# ---- the token ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        (),
        (("Authorization", ""),),
        RIGHT * 2,
        (*RIGHT, ("authorization", "")),
        (*RIGHT, ("AUTHORIZATION", "another")),
        (("X-Authorization", TEXT),),
        (("Proxy-Authorization", TEXT),),
        (("Cookie", TEXT),),
    ],
)
def test_authorization_is_there_exactly_once_and_says_something(
    fields: tuple[tuple[str, str], ...],
) -> None:
    assert outcome(bind(), delivered(fields=fields)) is Reason.SIGNATURE_MISSING


@pytest.mark.parametrize(
    "value",
    [
        TEXT.removeprefix("Bearer "),
        TEXT.lower(),
        TEXT.upper(),
        " " + TEXT,
        TEXT + " ",
        "Bearer " + TEXT,
        f"{TEXT}, {TEXT}",
        TEXT[:-1],
        "***",
    ],
)
def test_only_the_whole_token_is_the_token(value: str) -> None:
    found = outcome(bind(), delivered(fields=(("Authorization", value),)))
    assert found is Reason.SIGNATURE_MISMATCH


@settings(derandomize=True, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["Authorization", "authorization", "X-Token", "Cookie"]),
            st.one_of(st.just(TEXT), st.text(st.characters(max_codepoint=255))),
        )
    )
)
def test_nothing_but_one_field_with_the_token_admits(fields: list[tuple[str, str]]) -> None:
    said = [value for name, value in fields if name.lower() == "authorization"]
    found = outcome(bind(), with_headers(delivered(), *fields))
    assert isinstance(found, Verification) == (said == [TEXT])


def test_the_token_is_asked_for_before_the_body_is_read() -> None:
    assert outcome(bind(), delivered(b"{", fields=())) is Reason.SIGNATURE_MISSING


def test_no_field_of_the_sender_reaches_an_upstream() -> None:
    assert PROVIDER.info.headers == ()


@pytest.mark.parametrize("value", [TEXT + "x", TEXT[:-1]])
def test_a_refusal_shows_no_token(value: str) -> None:
    with pytest.raises(Refusal) as caught:
        bind().verify(delivered(fields=(("Authorization", value),)))
    assert "canary" not in repr(caught.value) + caught.value.detail


def test_without_secrets_a_token_is_not_looked_at() -> None:
    inspector = PROVIDER.bind(EndpointOptions())
    for fields in ((), RIGHT, RIGHT * 2):
        assert accepted(delivered(fields=fields), inspector).secret is None


# ---- where it is sent -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", ORDER_PATH),
        ("POST", CONSENT_PATH),
        ("GET", ORDER_PATH),
        ("POST", ""),
        ("POST", "/"),
        ("POST", "x" + ORDER_PATH),
        ("POST", "/" + ORDER_PATH),
        ("POST", ORDER_PATH + "/"),
        ("POST", ORDER_PATH + "/shippingdetails"),
        ("POST", "/v3/payments/o"),
        ("DELETE", CONSENT_PATH + "/shippingDetails"),
    ],
)
def test_another_request_is_unknown(method: str, path: str) -> None:
    found = outcome(bind(), delivered(path=path, method=method))
    assert found is Reason.UNKNOWN_ENDPOINT


class Placed:
    """An endpoint as `EndpointPaths` sees it."""

    methods = PROVIDER.info.methods
    proxied = False

    def __init__(self, path: str, callback: str | None = None) -> None:
        self.path = path
        self.shapes = PROVIDER.info.shapes_of(callback)


def matched(target: str, placed: Placed, method: str = "POST") -> EndpointMatch[Placed]:
    head = RequestHead(method, target, Headers(), ip_address("192.0.2.1"), NOW)
    return EndpointPaths([placed]).find(head)


def methods_of(target: str, placed: Placed) -> tuple[str, ...]:
    try:
        return matched(target, placed).methods
    except Refusal:
        return ()


@pytest.mark.parametrize(
    ("remainder", "methods"),
    [
        (ORDER_PATH, ("POST",)),
        (ORDER_PATH + "/shippingDetails", ("POST",)),
        (CONSENT_PATH, ("DELETE",)),
        ("", ()),
        ("/", ()),
        ("/" + ORDER_PATH, ()),
        (ORDER_PATH + "/", ()),
        ("/v2/payments/..%2fx", ()),
        ("/v2/payments/a;b", ()),
        ("/v2/consents/", ()),
    ],
)
def test_below_its_prefix_exactly_the_listed_requests_are_known(
    remainder: str, methods: tuple[str, ...]
) -> None:
    assert methods_of("/vipps" + remainder, Placed("/vipps")) == methods


@pytest.mark.parametrize("callback", ["checkout", "express"])
@pytest.mark.parametrize("path", ["/vipps/session", "/vipps/session/"])
def test_a_product_is_called_at_one_exact_path(callback: str, path: str) -> None:
    placed = Placed(path, callback)
    assert methods_of(path, placed) == ("POST",)
    for other in (path + "/", path.rstrip("/") + ORDER_PATH, path[:-1], path.upper()):
        assert methods_of(other, placed) == (), other


@pytest.mark.parametrize(
    ("callback", "method", "remainder", "proxied"),
    [
        (None, "POST", ORDER_PATH, False),
        (None, "POST", ORDER_PATH + "/shippingDetails", True),
        (None, "DELETE", CONSENT_PATH, False),
        ("checkout", "POST", "", False),
        ("express", "POST", "", True),
    ],
)
def test_what_needs_the_answer_of_an_upstream_is_proxied(
    callback: str | None, method: str, remainder: str, proxied: bool
) -> None:
    assert matched("/vipps" + remainder, Placed("/vipps", callback), method).proxied is proxied


def test_disaster_recovery_belongs_to_production() -> None:
    environments = PROVIDER.info.environments
    assert {name: len(each.hosts) for name, each in environments.items()} == {
        "production": 8,
        "test": 2,
    }
    assert all("-mt-" not in host for host in environments["production"].hosts)
    assert sum("-dr-" in host for host in environments["production"].hosts) == 4


# ---- answers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "status"),
    [
        (IngestResult(Verdict.ACCEPTED), 200),
        (IngestResult(Verdict.DUPLICATE), 200),
        (IngestResult(Verdict.UNAVAILABLE), 502),
        (IngestResult(Verdict.REFUSED, Reason.SIGNATURE_MISMATCH), 401),
        (IngestResult(Verdict.REFUSED, Reason.SOURCE_NOT_ALLOWED), 403),
        (IngestResult(Verdict.REFUSED, Reason.FIELD_INVALID), 400),
    ],
)
def test_answers_are_plain(result: IngestResult, status: int) -> None:
    assert bind().answer(result, AnswerContext(ORDER_PATH, b"", NOW)).status == status


@pytest.mark.parametrize(
    ("remainder", "allowed"), [(ORDER_PATH, "POST"), (CONSENT_PATH, "DELETE"), ("", "POST")]
)
def test_another_method_is_told_the_one_of_its_path(remainder: str, allowed: str) -> None:
    result = IngestResult(Verdict.REFUSED, Reason.METHOD_NOT_ALLOWED)
    ack = bind().answer(result, AnswerContext(remainder, b"", NOW))
    assert (ack.status, ack.headers) == (405, (("Allow", allowed),))


def test_what_an_upstream_answers_passes_as_it_is() -> None:
    answered = replace(
        bind().answer(IngestResult(Verdict.PASSED), AnswerContext("", b"", NOW)), body=b"{}"
    )
    assert bind().proxied_answer(answered, AnswerContext(ORDER_PATH, b"", NOW)) is answered


# ---- terms ----------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", ["", " ", " x", "x ", "x\n", "x\ty", "x\0y", "x\x7f", "\r\nx"])
def test_a_token_that_no_header_can_carry_is_a_configuration_mistake(secret: str) -> None:
    with pytest.raises(ValueError, match=r"^secrets\.1: ") as caught:
        PROVIDER.bind(EndpointOptions(secrets=(TOKEN, Secret(secret))))
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("secret", ["x", "Bearer x", "x  y", "p\u00e5\u00df", "!~"])
def test_other_tokens_are_usable(secret: str) -> None:
    arrives = secret.encode().decode("latin-1")
    inspector = PROVIDER.bind(EndpointOptions(secrets=(Secret(secret),)))
    assert accepted(delivered(fields=(("Authorization", arrives),)), inspector).secret == 0


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (EndpointOptions(order_id_pattern="x"), "order_id_pattern"),
        (EndpointOptions(partner_id="x"), "partner_id"),
        (EndpointOptions(callback="ecom"), "callback"),
        (EndpointOptions(callback=""), "callback"),
    ],
)
def test_a_term_without_a_meaning_is_a_configuration_mistake(
    options: EndpointOptions, name: str
) -> None:
    with pytest.raises(ValueError, match=rf"^{name}: "):
        PROVIDER.bind(options)


# ---- samples --------------------------------------------------------------------------------


def sample(**changes: str) -> Sample:
    return PROVIDER.sample(SampleOrder(url=URL, secret=TOKEN, at=NOW, changes=changes))


@pytest.mark.parametrize(
    ("kind", "method", "path"),
    [
        ("transaction", "POST", "/vipps/v2/payments/"),
        ("shippingDetails", "POST", "/vipps/v2/payments/"),
        ("consent", "DELETE", "/vipps/v2/consents/"),
        ("checkout", "POST", "/vipps"),
        ("express", "POST", "/vipps"),
    ],
)
def test_a_sample_of_every_kind_is_routed_and_accepted(kind: str, method: str, path: str) -> None:
    callback = kind if kind in PROVIDER.info.callbacks else None
    made = sample(callback=kind)
    assert ("/vipps" + made.suffix).startswith(path)
    match = matched("/vipps" + made.suffix, Placed("/vipps", callback))
    assert (made.method, match.methods) == (method, (method,))
    head = RequestHead(
        made.method, "/vipps" + made.suffix, made.headers, ip_address("192.0.2.1"), NOW
    )
    client = ClientAddress(head.peer, Via.PEER)
    delivery = Delivery("vipps", head, client, match.remainder, made.body)
    first = accepted(delivery, bind(callback=callback, enforced=True))
    again = sample(callback=kind)
    assert made.body != again.body or made.suffix != again.suffix
    assert not first.test


def test_a_sample_carries_the_token_verbatim_and_a_removed_consent_none() -> None:
    for kind in ("transaction", "shippingDetails", "checkout", "express"):
        assert sample(callback=kind).headers.values("Authorization") == (TEXT,)
    assert sample(callback="consent").headers == Headers()


def test_a_sample_says_what_was_asked_for() -> None:
    made = sample(orderId="o-1", status="CANCELLED", transactionId="9")
    assert made.suffix == "/v2/payments/o-1"
    message = json.loads(made.body)
    assert message["orderId"] == "o-1"
    assert message["transactionInfo"]["status"] == "CANCELLED"
    assert message["transactionInfo"]["transactionId"] == "9"
    assert sample(callback="consent", userId="u-1").suffix == "/v2/consents/u-1"
    assert json.loads(sample(callback="checkout", reference="r").body)["reference"] == "r"


@pytest.mark.parametrize(
    "changes",
    [
        {"callback": "webhook"},
        {"Authorization": "x"},
        {"userId": "u"},
        {"orderId": "a/b"},
        {"orderId": ".."},
        {"orderId": ""},
        {"orderId": "a\n"},
        {"orderId": "x" * 65},
        {"callback": "consent", "orderId": "o"},
        {"callback": "consent", "userId": "%2e"},
        {"callback": "checkout", "status": "x"},
    ],
)
def test_a_sample_that_nobody_would_send_is_not_made(changes: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"^\w+: "):
        sample(**changes)
