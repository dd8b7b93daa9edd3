"""What stands around a signature."""

import pytest

from relay.core.errors import Reason, Refusal
from relay.providers.inline.formats import MAX_SIGNATURES, Format, ParsedSignature

# What stands around a signature.


@pytest.mark.parametrize(
    ("form", "value", "found"),
    [
        ("{signature}", "abc", ParsedSignature(("abc",))),
        ("{signature}", "a,b=c d", ParsedSignature(("a,b=c d",))),
        ("sha256={signature}", "sha256=abc", ParsedSignature(("abc",))),
        ("v1={signature}", "v1=a,v1=b", ParsedSignature(("a", "b"))),
        ("v1={signature}", "v0=x, v1=a, v1=b==, v2=y", ParsedSignature(("a", "b=="))),
        ("v1={signature}", "v0=x;v1=a", ParsedSignature(("a",))),
        ("signature={signature}", "sender=x;signature=a;algorithm=MD5", ParsedSignature(("a",))),
        ("1/SHA256/{signature}", "1/SHA256/ab", ParsedSignature(("ab",))),
        ("1/SHA256/{signature}", "2/SHA256/x,1/SHA256/ab", ParsedSignature(("ab",))),
        ("1/SHA256/{signature}", "1/SHA512/x, 1/SHA256/a/b=", ParsedSignature(("a/b=",))),
        ("key/{signature}", "key/ab=,v1=x", ParsedSignature(("ab=",))),
        # What is no list of named entries is one signature.
        ("v1={signature}", "v1=a,b", ParsedSignature(("a,b",))),
        ("v1={signature}", "v1=a,v1=b;v1=c", ParsedSignature(("a,v1=b;v1=c",))),
        ("v1={signature}", "v1=a,,v1=b", ParsedSignature(("a,,v1=b",))),
        ("key {signature}", "key v1=a,v1=b", ParsedSignature(("v1=a,v1=b",))),
        ("{signature}", "v1=a,v1=b", ParsedSignature(("v1=a,v1=b",))),
        ("Bearer {signature}", "Bearer abc", ParsedSignature(("abc",))),
        ("t={timestamp},v1={signature}", "t=1,v1=a", ParsedSignature(("a",), "1")),
        ("t={timestamp},v1={signature}", "v1=a,v1=b, v0=c,t=1", ParsedSignature(("a", "b"), "1")),
        ("t={timestamp},v1={signature}", "t=1,v1=a=", ParsedSignature(("a=",), "1")),
        ("h1={signature};ts={timestamp}", "ts=1;h1=a", ParsedSignature(("a",), "1")),
        ("t={timestamp}, v1={signature}", "t=1, v1=a", ParsedSignature(("a",), "1")),
        ("v1,{signature}", "v1,a", ParsedSignature(("a",))),
        ("v1,{signature}", "v2,x v1,a v1a,y v1,b", ParsedSignature(("a", "b"))),
        ("v1,{signature}", "x  v1,a ", ParsedSignature(("a",))),
    ],
)
def test_what_is_read_of_a_format(form: str, value: str, found: ParsedSignature) -> None:
    assert Format(form).read(value) == found


@pytest.mark.parametrize(
    ("form", "value", "reason"),
    [
        ("sha256={signature}", "sha1=abc", Reason.SIGNATURE_MISMATCH),
        ("sha256={signature}", "SHA256=abc", Reason.SIGNATURE_MISMATCH),
        ("v1={signature}", "v0=a,v2=b", Reason.SIGNATURE_MISSING),
        ("v1={signature}", "V1=a,v2=b", Reason.SIGNATURE_MISSING),
        ("v1={signature}", ",".join(["v1=a"] * (MAX_SIGNATURES + 1)), Reason.SIGNATURE_MISMATCH),
        ("v1={signature}", "v0=a", Reason.SIGNATURE_MISMATCH),
        ("sha256={signature}", "sha256=", Reason.SIGNATURE_MISSING),
        ("t={timestamp},v1={signature}", "t=1", Reason.SIGNATURE_MISSING),
        ("t={timestamp},v1={signature}", "t=1,v0=a", Reason.SIGNATURE_MISSING),
        ("t={timestamp},v1={signature}", "v1=a", Reason.SIGNATURE_MISSING),
        ("t={timestamp},v1={signature}", "t=,v1=a", Reason.SIGNATURE_MISSING),
        ("t={timestamp},v1={signature}", "t=1,t=1,v1=a", Reason.SIGNATURE_MISSING),
        ("t={timestamp},v1={signature}", "t=1;v1=a", Reason.SIGNATURE_MISSING),
        ("v1,{signature}", "v2,a", Reason.SIGNATURE_MISSING),
        ("v1,{signature}", "v1,", Reason.SIGNATURE_MISSING),
        ("v1,{signature}", "v1", Reason.SIGNATURE_MISSING),
        ("v1,{signature}", "V1,a", Reason.SIGNATURE_MISSING),
        ("v1,{signature}", "v1,a " * (MAX_SIGNATURES + 1), Reason.SIGNATURE_MISMATCH),
    ],
)
def test_what_is_refused(form: str, value: str, reason: Reason) -> None:
    with pytest.raises(Refusal) as caught:
        Format(form).read(value)
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    "form",
    [
        "",
        "sha256=",
        "{sig}",
        "{signature}{signature}",
        "{signature};",
        "{timestamp}",
        "{timestamp}{signature}",
        "t={timestamp},t={signature}",
        "t={timestamp},v1={timestamp}",
        "t={signature},v1={signature}",
        "k=x,t={timestamp},v1={signature}",
    ],
)
def test_what_is_no_format(form: str) -> None:
    with pytest.raises(ValueError, match=r"v1,\{signature\}"):
        Format(form)


@pytest.mark.parametrize(
    "form",
    ["{signature}", "sha256={signature}", "t={timestamp},v1={signature}", "v1,{signature}"],
)
def test_a_format_reads_what_it_writes(form: str) -> None:
    found = Format(form).read(Format(form).write("abc", "123"))
    assert found.signatures == ("abc",)
    assert found.timestamp == ("123" if Format(form).holds_time else None)
