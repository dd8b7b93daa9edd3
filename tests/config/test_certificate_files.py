"""Certificate files are looked at before anybody connects."""

import errno
import os
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from relay.config import certificate_files
from tests.config.files import ENVIRON, changed, good, mistakes
from tests.harness.wire import END, write_pair

NOT_THERE = os.strerror(errno.ENOENT)

TLS = changed(
    ('8080"\n', '8080"\n    tls: {certificate: certificate.pem, key: key.pem}\n'),
)


def test_a_pair_that_fits(tmp_path: Path) -> None:
    certificate, key = write_pair(tmp_path)
    tls = good(TLS, base=tmp_path).listen[0].tls
    assert tls is not None
    assert (tls.certificate, tls.key) == (certificate, key)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("certificate.pem", "3:24: listen.0.tls.certificate: cannot read {}: " + NOT_THERE),
        ("key.pem", "3:46: listen.0.tls.key: cannot read {}: " + NOT_THERE),
    ],
)
def test_a_file_that_is_missing(tmp_path: Path, name: str, said: str) -> None:
    write_pair(tmp_path)
    (tmp_path / name).unlink()
    expected = said.format(tmp_path / name)
    assert mistakes(TLS, ENVIRON, tmp_path) == [expected]


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    write_pair(tmp_path)[1].unlink()
    (tmp_path / "key.pem").mkdir()
    expected = f"3:46: listen.0.tls.key: cannot read {tmp_path}/key.pem: it is not a file"
    assert mistakes(TLS, ENVIRON, tmp_path) == [expected]


def said_of(directory: Path) -> str:
    """Return the one thing that is said of the pair in this directory, without its path."""
    (line,) = mistakes(TLS, ENVIRON, directory)
    return line.replace(f"{directory}/", "")


def test_a_key_of_another_certificate(tmp_path: Path) -> None:
    key = write_pair(tmp_path)[1].read_bytes()
    write_pair(tmp_path)[1].write_bytes(key)
    assert said_of(tmp_path) == (
        "3:10: listen.0.tls: certificate and key do not fit together: key.pem is the key of another"
        " certificate than the first in certificate.pem"
    )


def test_a_chain_in_the_wrong_order(tmp_path: Path) -> None:
    authority = write_pair(tmp_path)[0].read_bytes()
    certificate, _ = write_pair(tmp_path)
    certificate.write_bytes(authority + certificate.read_bytes())
    assert said_of(tmp_path) == (
        "3:10: listen.0.tls: the certificate of key.pem is number 2 in certificate.pem; write it"
        " first, and its chain behind it"
    )


def test_certificate_and_key_swapped(tmp_path: Path) -> None:
    certificate, key = write_pair(tmp_path)
    certificate.rename(tmp_path / "x")
    key.rename(certificate)
    (tmp_path / "x").rename(key)
    assert said_of(tmp_path) == (
        "3:10: listen.0.tls: certificate and key are swapped: certificate.pem holds a key, and"
        " key.pem a certificate"
    )


def test_both_in_one_file_are_no_mistake(tmp_path: Path) -> None:
    certificate, key = write_pair(tmp_path)
    both = key.read_bytes() + certificate.read_bytes()
    certificate.write_bytes(both)
    key.write_bytes(both)
    good(TLS, base=tmp_path)


def test_a_key_with_a_pass_phrase_is_refused_without_asking(tmp_path: Path) -> None:
    write_pair(tmp_path, phrase=b"secret")
    assert said_of(tmp_path) == (
        "3:46: listen.0.tls.key: key.pem has a pass phrase, and nobody is there to type it; write"
        " one without: openssl pkey -in KEY -out NEW"
    )


@pytest.mark.parametrize(
    ("content", "held"),
    [
        (b"hello", "no PEM"),
        (b"", "no PEM"),
        (bytes.fromhex("30820122300d0609"), "DER or PKCS#12"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "a public key"),
        (b"-----BEGIN EC PARAMETERS-----\n", "an EC PARAMETERS"),
        (b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n", "a certificate request"),
    ],
)
def test_it_is_said_what_a_file_holds_instead(tmp_path: Path, content: bytes, held: str) -> None:
    write_pair(tmp_path)[0].write_bytes(content)
    assert said_of(tmp_path) == (
        f"3:24: listen.0.tls.certificate: certificate.pem holds {held}, where a certificate in PEM"
        " belongs"
    )
    write_pair(tmp_path)[1].write_bytes(content)
    assert said_of(tmp_path) == (
        f"3:46: listen.0.tls.key: key.pem holds {held}, where a private key in PEM belongs"
    )


def test_each_wrong_file_is_named(tmp_path: Path) -> None:
    for path in write_pair(tmp_path):
        path.write_text("hello")
    assert [line.split(":")[2] for line in mistakes(TLS, ENVIRON, tmp_path)] == [
        " listen.0.tls.certificate",
        " listen.0.tls.key",
    ]


@pytest.mark.parametrize("name", ["certificate.pem", "key.pem"])
def test_a_damaged_file(tmp_path: Path, name: str) -> None:
    write_pair(tmp_path)
    lines = (tmp_path / name).read_text().splitlines()
    (tmp_path / name).write_text("\n".join([lines[0], *lines[2:]]))
    assert said_of(tmp_path).endswith(
        f": {name} is damaged: what stands between BEGIN and END cannot be read"
    )


def test_what_the_lint_wants_to_know(tmp_path: Path) -> None:
    found = certificate_files.read_certificate(write_pair(tmp_path)[0])
    assert found == certificate_files.Certificate(END, self_signed=False)
    assert certificate_files.read_certificate(
        write_pair(tmp_path, issuer="pay.example.com")[0]
    ).self_signed


@pytest.mark.parametrize(
    ("uses", "for_clients"),
    [
        ([], True),
        ([ExtendedKeyUsageOID.SERVER_AUTH], False),
        ([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH], True),
        ([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE], True),
    ],
)
def test_what_a_certificate_is_for(
    tmp_path: Path, uses: list[ObjectIdentifier], *, for_clients: bool
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(END - timedelta(days=1))
        .not_valid_after(END)
    )
    if uses:
        builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    pem = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    (tmp_path / "own.pem").write_bytes(pem)
    found = certificate_files.read_certificate(tmp_path / "own.pem")
    assert found.for_clients is for_clients


# ---- authorities ----------------------------------------------------------------------------


def trusting(directory: Path) -> list[str]:
    """Return what is said of the file of authorities in this directory."""
    found = certificate_files.authority_issues(directory / "ca.pem", ("ca",))
    return [each.message.replace(f"{directory}/", "") for each in found]


def test_authorities_that_can_be_trusted(tmp_path: Path) -> None:
    first, _ = write_pair(tmp_path, end=END - timedelta(days=9))
    content = first.read_bytes()
    second, _ = write_pair(tmp_path)
    (tmp_path / "ca.pem").write_bytes(content + second.read_bytes())
    assert trusting(tmp_path) == []
    assert certificate_files.read_authorities(tmp_path / "ca.pem").not_after == END


def test_authorities_that_cannot_be_trusted(tmp_path: Path) -> None:
    assert trusting(tmp_path) == [f"cannot read ca.pem: {NOT_THERE}"]
    certificate, key = write_pair(tmp_path)
    wanted = "where certificates of authorities in PEM belong"
    lines = certificate.read_text().splitlines()
    damaged = "\n".join([lines[0], *lines[2:]]).encode()
    for content, said in (
        (b"hello", f"ca.pem holds no PEM, {wanted}"),
        (key.read_bytes(), f"ca.pem holds a private key, {wanted}"),
        (
            certificate.read_bytes() + key.read_bytes(),
            (
                "ca.pem holds a private key, too, and trust needs none; name a file with the"
                " authorities' certificates alone"
            ),
        ),
        (damaged, "ca.pem is damaged: what stands between BEGIN and END cannot be read"),
    ):
        (tmp_path / "ca.pem").write_bytes(content)
        assert trusting(tmp_path) == [said]
