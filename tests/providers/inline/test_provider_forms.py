"""What a stranger may do to a signed form: none of it is accepted as something else."""

import hashlib
import hmac
from itertools import product
from urllib.parse import urlencode

import pytest

from relay.core import form
from relay.core.errors import Reason
from relay.core.request import Verification
from relay.core.secret import Secret
from relay.providers import EndpointOptions, Inspector, SampleOrder
from relay.providers.inline import Description, FormField, JsonField, QueryField, TimeRule
from relay.providers.inline.provider import InlineProvider
from relay.providers.media_type import FORM
from tests.contracts.provider import delivery_of, flipped_bytes, outcome
from tests.providers.inline.describe import AT, bound, delivery, described

URL = "https://pay.example.com/in"
SIGN = FormField("sign")
KINDS = {
    "sorted, in a header": described(signed="{public_url}{form_sorted}"),
    "sorted, in itself": described(source=SIGN, signed="{form_sorted}"),
    "fields": described(
        scheme="digest", source=SIGN, signed="{form:amount}:{form:order}:{secret}", algorithm="md5"
    ),
    "hashed fields": described(source=SIGN, signed="{sha512_hex:{form:order}:{form:amount}}"),
    "a time": described(
        source=SIGN, signed="{form:order}:{form:at}", time=TimeRule(FormField("at"), "s")
    ),
    "in the query": described(
        source=QueryField("sign"),
        signed="{query:at}.{form:order}",
        time=TimeRule(QueryField("at"), "s"),
    ),
}
kinds = pytest.mark.parametrize("description", KINDS.values(), ids=KINDS)


def bound_here(description: Description, secret: str = "key") -> Inspector:
    options = EndpointOptions((Secret(secret),), public_url=URL)
    return InlineProvider(description).bind(options)


def signed_form(description: Description) -> tuple[dict[str, str], bytes, str]:
    """Return header fields, body and target of a genuine message."""
    order = SampleOrder(URL, Secret("key"), AT, {"order": "A 1", "amount": "10.00", "x": "é"})
    found = delivery_of(InlineProvider(description).sample(order), URL)
    return dict(found.head.headers), found.body, found.head.target


def verdict(
    description: Description, headers: dict[str, str], body: bytes, target: str, secret: str = "key"
) -> Verification | Reason:
    return outcome(bound_here(description, secret), delivery(headers, body, target))


@kinds
def test_a_genuine_one_is_taken_and_with_another_key_it_is_not(description: Description) -> None:
    headers, body, target = signed_form(description)
    headers.pop("Host")
    found = verdict(description, headers, body, target)
    assert isinstance(found, Verification)
    sorted_ = "form_sorted" in description.signature.signed
    assert found.ambiguous is sorted_
    assert found.signed == ("body",) if sorted_ else "order" in found.signed
    assert verdict(description, headers, body, target, "other") is Reason.SIGNATURE_MISMATCH


@kinds
def test_a_flipped_bit_says_the_same_or_is_refused(description: Description) -> None:
    headers, body, target = signed_form(description)
    headers.pop("Host")
    inspector = bound_here(description)
    # A signature in hexadecimal may be in either case.
    names = {*dict(form.parse(body).fields)} - {"sign"}
    if description.signature.signed.count("form_sorted") == 0:
        names &= {"amount", "order", "at"}
    for changed in flipped_bytes(body):
        found = outcome(inspector, delivery(headers, changed, target))
        if isinstance(found, Verification):
            was, now = form.parse(body), form.parse(changed)
            covered = found.signed if found.signed != ("body",) else names
            assert all(was.values(name) == now.values(name) for name in covered), changed


@kinds
def test_a_body_of_another_type_is_refused(description: Description) -> None:
    headers, body, target = signed_form(description)
    headers.pop("Host")
    for value in (
        "",
        "application/json",
        "multipart/form-data; boundary=amount",
        f"{FORM}; charset=iso-8859-1",
        f"{FORM}; charset=utf-16",
        "text/plain",
    ):
        changed = {name: each for name, each in headers.items() if name != "Content-Type"}
        if value:
            changed["Content-Type"] = value
        assert verdict(description, changed, body, target) is Reason.FIELD_INVALID, value
        # It is said of what has no field at all, too.
        assert verdict(description, changed, b"--x\r\n", target) is Reason.FIELD_INVALID, value


@pytest.mark.parametrize(
    "added",
    [
        "amount=1",
        "Amount=1",
        "AMOUNT=1",
        "amount[]=1",
        "amount%5B0%5D=1",
        "amoun%74=1",
        "%20amount=1",
        "+amount=1",
        "amount%00x=1",
        "%61mount=1",
        "amount",
        "x=1;amount=1",
        "x=%",
        "x=%zz",
        "x=%ff",
        "x=é",
    ],
)
@pytest.mark.parametrize("kind", ["fields", "hashed fields", "sorted, in itself"])
def test_no_second_amount_passes(kind: str, added: str) -> None:
    description = KINDS[kind]
    headers, body, target = signed_form(description)
    headers.pop("Host")
    for changed in (body + b"&" + added.encode(), added.encode() + b"&" + body):
        found = verdict(description, headers, changed, target)
        # What is sorted is all signed, and another field is another text.
        reasons = {Reason.FIELD_INVALID, Reason.BODY_MALFORMED}
        if "form_sorted" in description.signature.signed:
            reasons.add(Reason.SIGNATURE_MISMATCH)
        assert found in reasons, changed


@pytest.mark.parametrize("kind", ["fields", "hashed fields", "sorted, in itself", "a time"])
def test_a_signature_in_a_form_is_there_once_and_says_something(kind: str) -> None:
    description = KINDS[kind]
    headers, body, target = signed_form(description)
    headers.pop("Host")
    kept = [pair for pair in body.split(b"&") if not pair.startswith(b"sign=")]
    sign = next(pair for pair in body.split(b"&") if pair.startswith(b"sign="))
    for proof, reason in (
        ([], Reason.SIGNATURE_MISSING),
        ([b"sign="], Reason.SIGNATURE_MISSING),
        ([b"sign"], Reason.SIGNATURE_MISSING),
        ([sign, sign], Reason.FIELD_INVALID),
        ([b"sign=", sign], Reason.FIELD_INVALID),
        ([sign, b"Sign=x"], Reason.FIELD_INVALID),
        ([b"Sign=x"], Reason.FIELD_INVALID),
        ([sign[:-1] + b"x"], Reason.SIGNATURE_MISMATCH),
    ):
        assert verdict(description, headers, b"&".join([*kept, *proof]), target) is reason, proof


def test_a_sorted_form_may_repeat_a_name_and_come_in_any_order() -> None:
    description = described(signed="{form_sorted}")
    mac = hmac.digest(b"key", b"Address+1Address+2Bodyx yTo+3", hashlib.sha256).hex()
    headers = {"X-Signature": mac, "Content-Type": FORM}
    pairs = [("To", "+3"), ("Address", "+2"), ("Body", "x y"), ("Address", "+1")]
    for body in (urlencode(pairs), urlencode(pairs[::-1]), urlencode([*pairs, pairs[1]])):
        found = outcome(bound(description, "key"), delivery(headers, body.encode()))
        assert isinstance(found, Verification)
        assert (found.signed, found.ambiguous) == (("body",), True)


def test_a_sorted_form_takes_no_names_that_text_could_become() -> None:
    # A text message that holds the name of another field cannot lend it blanks or marks.
    description = described(signed="{form_sorted}")
    mac = hmac.digest(b"key", b"Bodyhi you, From+1From+2", hashlib.sha256).hex()
    headers = {"X-Signature": mac, "Content-Type": FORM}
    for pairs, taken in (
        ([("Body", "hi you, From+1"), ("From", "+2")], True),
        ([("Bodyhi you, From", "+1"), ("From", "+2")], False),
        ([("", "Bodyhi you, From+1"), ("From", "+2")], False),
        ([("Body", "hi you, "), ("From", "+1From+2")], True),
    ):
        found = outcome(bound(description, "key"), delivery(headers, urlencode(pairs).encode()))
        assert isinstance(found, Verification) is taken, pairs
        assert not isinstance(found, Verification) or found.ambiguous


@pytest.mark.parametrize("order", ["1", "1:", ":"])
def test_fields_that_could_be_split_otherwise_are_told(order: str) -> None:
    description = described(signed="{sha256_hex:{form:order}:{form:amount}}")
    digest = hashlib.sha256(f"{order}:2".encode()).hexdigest().encode()
    headers = {
        "X-Signature": hmac.digest(b"key", digest, hashlib.sha256).hex(),
        "Content-Type": FORM,
    }
    found = outcome(
        bound(description, "key"),
        delivery(headers, urlencode({"order": order, "amount": "2"}).encode()),
    )
    assert isinstance(found, Verification)
    assert found.ambiguous is (":" in order)


def test_a_form_without_the_signed_fields_is_refused() -> None:
    description = described(signed="{form:a}{form:b}")
    mac = hmac.digest(b"key", b"", hashlib.sha256).hex()
    for body in (b"", b"a=", b"c=1", b"a=&b="):
        headers = {"X-Signature": mac, "Content-Type": FORM}
        found = outcome(bound(description, "key"), delivery(headers, body))
        assert found is Reason.FIELD_INVALID


def test_a_parameter_of_the_query_is_there_once() -> None:
    description = KINDS["in the query"]
    headers, body, target = signed_form(description)
    headers.pop("Host")
    assert bound_here(description).signs_query
    for changed in (
        target.replace("sign=", "sing="),
        target.replace("at=", "ta="),
        f"{target}&sign=x",
        f"{target}&at=5",
        f"{target}&AT=5",
        f"{target};at=5",
        target.partition("?")[0],
    ):
        assert isinstance(verdict(description, headers, body, changed), Reason), changed


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"id=A-1&x=2", (("id", "A-1"), ("q", "5"))),
        (b"id=A-1&id=A-2", (("q", "5"),)),
        (b"id=%zz", (("q", "5"),)),
        (b'{"id":"\xc3\xa9"}', (("q", "5"),)),
    ],
)
def test_references_in_forms_refuse_nothing(body: bytes, named: tuple[object, ...]) -> None:
    description = Description(
        "test",
        described().signature,
        described().environments,
        references=(FormField("id"), QueryField("q")),
    )
    inspector = bound(description)
    message = delivery(body=body, target="/hook?q=5")
    assert inspector.verify(message).references == named
    assert inspector.references(message) == named
    broken = delivery(body=body, target="/hook?q=%zz")
    assert dict(inspector.verify(broken).references).keys() <= {"id"}


def test_an_event_key_in_a_form() -> None:
    inspector = bound(described(event_key=(FormField("id"), QueryField("kind"))))
    keys = {
        target + body.decode(): outcome(inspector, delivery(body=body, target=target))
        for target, body in product(("/a?kind=paid", "/a"), (b"id=1", b"id=1&id=2", b"x=1"))
    }
    found = {name: each.key for name, each in keys.items() if isinstance(each, Verification)}
    assert found.pop("/a?kind=paidid=1") == "1:paid"
    assert all(key.startswith("sha256:") for key in found.values())
    assert len(found) == 5


def test_a_list_outside_is_taken_where_a_pointer_goes_into_it() -> None:
    description = Description(
        "test",
        described().signature,
        described().environments,
        event_key=(JsonField("/0/id"),),
        references=(JsonField("/0/order"),),
    )
    inspector = bound(description)
    message = delivery(body=b'[{"id":"7","order":"A-1"}]')
    found = outcome(inspector, message)
    assert isinstance(found, Verification)
    assert (found.key, found.references) == ("7", (("order", "A-1"),))
    assert inspector.references(message) == found.references
    for body in (b'"7"', b"7", b"null", b"[", b'[{"id":1,"id":2}]'):
        assert outcome(inspector, delivery(body=body)) is Reason.BODY_MALFORMED
    assert outcome(bound(described(event_key=(JsonField("/id"),))), message) is (
        Reason.BODY_MALFORMED
    )
