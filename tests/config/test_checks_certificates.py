"""Certificate files are looked at before anybody connects."""

from pathlib import Path

import pytest

from relay.config import checks
from tests.config.files import ENVIRON, changed, good, mistakes
from tests.config.pem import END, write_pair

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
        ("certificate.pem", "3:24: listen.0.tls.certificate: cannot read {}: No such file"),
        ("key.pem", "3:46: listen.0.tls.key: cannot read {}: No such file"),
    ],
)
def test_a_file_that_is_missing(tmp_path: Path, name: str, said: str) -> None:
    write_pair(tmp_path)
    (tmp_path / name).unlink()
    expected = said.format(tmp_path / name) + " or directory"
    assert mistakes(TLS, ENVIRON, tmp_path) == [expected]


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    write_pair(tmp_path)[1].unlink()
    (tmp_path / "key.pem").mkdir()
    expected = f"3:46: listen.0.tls.key: cannot read {tmp_path}/key.pem: it is not a file"
    assert mistakes(TLS, ENVIRON, tmp_path) == [expected]


DO_NOT_FIT = (
    "3:10: listen.0.tls: certificate and key do not fit together, are not PEM, or the key has a"
    " pass phrase"
)


def test_a_key_of_another_certificate(tmp_path: Path) -> None:
    key = write_pair(tmp_path)[1].read_bytes()
    write_pair(tmp_path)[1].write_bytes(key)
    assert mistakes(TLS, ENVIRON, tmp_path) == [DO_NOT_FIT]


def test_a_key_with_a_pass_phrase_is_refused_without_asking(tmp_path: Path) -> None:
    write_pair(tmp_path, phrase=b"secret")
    assert mistakes(TLS, ENVIRON, tmp_path) == [DO_NOT_FIT]


def test_what_is_no_certificate(tmp_path: Path) -> None:
    write_pair(tmp_path)[0].write_text("hello")
    assert mistakes(TLS, ENVIRON, tmp_path) == [DO_NOT_FIT]


def test_what_the_lint_wants_to_know(tmp_path: Path) -> None:
    found = checks.read_certificate(write_pair(tmp_path)[0])
    assert found == checks.Certificate(END, self_signed=False)
    assert checks.read_certificate(write_pair(tmp_path, issuer="pay.example.com")[0]).self_signed
