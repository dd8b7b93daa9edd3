"""What a certificate says: names, issuer, and from when to when."""

import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest

from relay.signatures.certificates import CertificateInfo, certificate_info
from tests.harness.wire import END, self_signed, write_pair


def test_the_names_that_it_lists_count(tmp_path: Path) -> None:
    self_signed(tmp_path, "billing.internal")
    pem = (tmp_path / "certificate.pem").read_text()
    der = ssl.PEM_cert_to_DER_cert(pem[pem.index("-----BEGIN CERTIFICATE") :])
    assert certificate_info(der) == CertificateInfo(
        names=("billing.internal",),
        issuer="billing.internal",
        begins=datetime(2020, 1, 1, tzinfo=UTC),
        ends=datetime(2100, 1, 1, tzinfo=UTC),
    )


def test_one_that_lists_none_is_told_by_its_subject(tmp_path: Path) -> None:
    certificate, _ = write_pair(tmp_path)
    found = certificate_info(ssl.PEM_cert_to_DER_cert(certificate.read_text()))
    assert (found.names, found.issuer, found.ends) == (("pay.example.com",), "some authority", END)


def test_what_is_no_certificate_is_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"."):
        certificate_info(b"canary")
