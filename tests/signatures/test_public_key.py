import hashlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from functools import cache

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
)

from relay.core.errors import Reason, Refusal
from relay.core.secret import Secret
from relay.signatures import Verifier
from relay.signatures.private_key import sign_rsa
from relay.signatures.public_key import Ed25519, Rsa, UnusableKey

SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
SHA256_INFO_WITHOUT_NULL = bytes.fromhex("302f300b0609608648016503040201" + "0420")
SHA1_INFO = bytes.fromhex("3021300906052b0e03021a05000414")


@cache
def rsa_key(bits: int = 2048, number: int = 0) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@cache
def ed25519_key(number: int = 0) -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()


def pem(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> str:
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return public.decode()


def bare(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> str:
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return b64encode(public).decode()


def private_pem(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> Secret:
    return Secret(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def verifier(*keys: rsa.RSAPrivateKey) -> Rsa:
    return Rsa([Secret(pem(key)) for key in keys])


def signed(message: bytes = b"m", key: rsa.RSAPrivateKey | None = None) -> str:
    signature = (key or rsa_key()).sign(message, padding.PKCS1v15(), hashes.SHA256())
    return b64encode(signature).decode()


def raw_power(block: bytes, key: rsa.RSAPrivateKey | None = None) -> str:
    """Sign any block at all, as only the owner of the key can."""
    numbers = (key or rsa_key()).private_numbers()
    power = pow(int.from_bytes(block), numbers.d, numbers.public_numbers.n)
    return b64encode(power.to_bytes(256)).decode()


def block(info: bytes, digest: bytes, *, kind: int = 1, fill: bytes = b"\xff") -> bytes:
    rest = b"\0" + info + digest
    return bytes([0, kind]) + fill * (254 - len(rest)) + rest


def refused(found: Verifier, signature: str, message: bytes = b"m") -> str:
    with pytest.raises(Refusal) as caught:
        found.verify(message, signature)
    assert caught.value.reason is Reason.SIGNATURE_MISMATCH
    return caught.value.detail


def unusable(text: str | bytes, kind: Callable[[list[Secret]], object] = Rsa) -> str:
    with pytest.raises(UnusableKey) as caught:
        kind([Secret(text)])
    assert caught.value.position == 0
    return str(caught.value)


# ---- RSA signatures -------------------------------------------------------------------------


def test_the_right_signature_fits() -> None:
    assert verifier(rsa_key()).verify(b"m", signed()) == 0
    assert refused(verifier(rsa_key()), signed(), b"n") == "fits no key"


def test_what_is_signed_here_is_verified_here() -> None:
    assert verifier(rsa_key()).verify(b"m", sign_rsa(private_pem(rsa_key()), b"m")) == 0


def test_a_block_built_by_hand_is_what_is_verified() -> None:
    """The negatives below differ from this one in their one point."""
    built = raw_power(block(SHA256_INFO, hashlib.sha256(b"m").digest()))
    assert built == signed()
    assert verifier(rsa_key()).verify(b"m", built) == 0


def other_paddings() -> Iterator[tuple[str, str]]:
    digest = hashlib.sha256(b"m").digest()
    right = block(SHA256_INFO, digest)
    short = b"\0\1" + b"\xff" * 8 + b"\0" + SHA256_INFO + digest
    yield "no NULL in the digest info", raw_power(block(SHA256_INFO_WITHOUT_NULL, digest))
    yield "SHA-1", raw_power(block(SHA1_INFO, hashlib.sha1(b"m").digest()))
    yield "bare digest", raw_power(block(b"", digest))
    yield "block type 2", raw_power(block(SHA256_INFO, digest, kind=2))
    yield "block type 0", raw_power(block(SHA256_INFO, digest, kind=0, fill=b"\0"))
    yield "other filling", raw_power(block(SHA256_INFO, digest, fill=b"\xfe"))
    yield "rubbish behind", raw_power(short + b"\x5a" * (256 - len(short)))
    yield "nothing behind", raw_power(short + b"\0" * (256 - len(short)))
    yield (
        "long lengths",
        raw_power(
            block(SHA256_INFO.replace(b"\x30\x31", b"\x30\x81\x32", 1)[:-1] + b"\x20", digest)
        ),
    )
    yield "the block itself", b64encode(right).decode()
    yield "zero", b64encode(bytes(256)).decode()
    yield "one", b64encode(bytes(255) + b"\1").decode()
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    yield "PSS", b64encode(rsa_key().sign(b"m", pss, hashes.SHA256())).decode()
    sha512 = rsa_key().sign(b"m", padding.PKCS1v15(), hashes.SHA512())
    yield "SHA-512", b64encode(sha512).decode()
    modulus = rsa_key().public_key().public_numbers().n
    more = int.from_bytes(b64decode(signed())) + modulus
    yield "the modulus added", b64encode(more.to_bytes(257)).decode()
    yield "the modulus", b64encode(modulus.to_bytes(256)).decode()


def test_any_other_padding_is_refused() -> None:
    for name, signature in other_paddings():
        with pytest.raises(Refusal):
            pytest.fail(f"{name}: {verifier(rsa_key()).verify(b'm', signature)}")


def test_any_flipped_bit_is_refused() -> None:
    """The last digit has four spare bits: one of its sixteen spellings is right."""
    good, found = signed().encode(), verifier(rsa_key())
    for position in range(len(good)):
        for bit in range(8):
            bad = bytearray(good)
            bad[position] ^= 1 << bit
            refused(found, bad.decode("latin-1"))


def test_any_other_spelling_is_refused() -> None:
    good, found = signed(), verifier(rsa_key())
    for bad in (
        *("", " ", "=", "====", "A", good[:-1], good[:-2], good[:-4], good + "=", good + good),
        *(good + "\n", " " + good, good[:76] + "\n" + good[76:], good + "\0"),
        good.replace("+", "-").replace("/", "_") if set("+/") & set(good) else "-" + good[1:],
        b64decode(good).hex(),
        good[:-1] + "\u0130",
        good + "é",
        # Midtrans' documentation prints this as its sample.
        "da1fa417c72d6b91c257e01e54fac824",
    ):
        refused(found, bad)


def test_a_signature_is_as_long_as_the_modulus() -> None:
    raw = b64decode(signed())
    for bad in (raw[:-1], raw[1:], b"\0" + raw, raw + b"\0"):
        assert refused(verifier(rsa_key()), b64encode(bad).decode()) == "fits no key"


def test_the_first_key_that_fits_is_told() -> None:
    one, two, long = rsa_key(), rsa_key(number=2), rsa_key(3072)
    assert verifier(two, one).verify(b"m", signed()) == 1
    assert verifier(one, two, one).verify(b"m", signed()) == 0
    assert verifier(long, two, one, one).verify(b"m", signed()) == 2
    assert verifier(one, long).verify(b"m", signed(key=long)) == 1


def test_without_keys_nothing_fits() -> None:
    refused(Rsa([]), signed())
    refused(Ed25519([]), b64encode(bytes(64)).decode())


# ---- Ed25519 signatures ---------------------------------------------------------------------


def test_ed25519_in_both_encodings() -> None:
    raw = ed25519_key().sign(b"m")
    keys = [Secret(pem(ed25519_key(1))), Secret(pem(ed25519_key()))]
    assert Ed25519(keys).verify(b"m", b64encode(raw).decode()) == 1
    assert Ed25519(keys, "hex").verify(b"m", raw.hex()) == 1
    refused(Ed25519(keys), b64encode(raw).decode(), b"n")
    refused(Ed25519(keys), raw.hex())
    refused(Ed25519(keys, "hex"), b64encode(raw).decode())
    for bad in (raw.hex().upper(), raw.hex()[:-2], raw.hex() + "00", raw.hex(" "), "zz", ""):
        refused(Ed25519(keys, "hex"), bad)


def test_rfc_8032_test_two() -> None:
    key = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    signature = (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    found = Ed25519([Secret(b64encode(key))], "hex")
    assert found.verify(b"\x72", signature) == 0
    # The same with the group's order added to S (RFC 8032, 5.1.7).
    order = 2**252 + 27742317777372353535851937790883648493
    larger = int.from_bytes(bytes.fromhex(signature[64:]), "little") + order
    refused(found, signature[:64] + larger.to_bytes(32, "little").hex(), b"\x72")


def test_any_flipped_bit_of_ed25519_is_refused() -> None:
    good = b64encode(ed25519_key().sign(b"m"))
    found = Ed25519([Secret(bare(ed25519_key()))])
    for position in range(len(good)):
        for bit in range(8):
            bad = bytearray(good)
            bad[position] ^= 1 << bit
            refused(found, bad.decode("latin-1"))


# ---- Ed25519 keys of small order ------------------------------------------------------------

P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P
ORDER = 2**252 + 27742317777372353535851937790883648493
BASE_Y = 4 * pow(5, -1, P) % P


def point(y: int) -> tuple[int, int] | None:
    """Return a point of -x² + y² = 1 + dx²y² with this y, its x even (RFC 8032, 5.1.3)."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    if x * x % P != square:
        return None
    return (P - x if x % 2 else x), y


def added(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    """Add two points (RFC 8032, 5.1.4, in affine coordinates)."""
    (a, b), (c, e) = one, other
    both = D * a * b * c * e % P
    x = (a * e + b * c) * pow(1 + both, -1, P) % P
    return x, (b * e + a * c) * pow(1 - both, -1, P) % P


def times(number: int, one: tuple[int, int]) -> tuple[int, int]:
    total = (0, 1)
    while number:
        if number & 1:
            total = added(total, one)
        one, number = added(one, one), number >> 1
    return total


@cache
def of_small_order() -> tuple[bytes, ...]:
    """Return every spelling in 32 bytes of every point that eight times makes nothing of."""
    points = {
        times(number * ORDER, found)
        for y in range(2, 20)
        if (found := point(y)) is not None
        for number in range(8)
    }
    assert len(points) == 8
    assert all(times(8, each) == (0, 1) for each in points)
    # Both signs, though x = 0 has but one, and y + p where it fits into 255 bits.
    spelt = {
        (y + more | sign << 255).to_bytes(32, "little")
        for _, y in points
        for more in (0, P)
        for sign in (0, 1)
        if y + more < 2**255
    }
    return tuple(sorted(spelt))


def spki(raw: bytes) -> str:
    return b64encode(bytes.fromhex("302a300506032b6570032100") + raw).decode()


def test_a_key_of_small_order_is_refused() -> None:
    assert len(of_small_order()) == 14
    for raw in of_small_order():
        for text in (b64encode(raw).decode(), spki(raw)):
            said = unusable(text, Ed25519)
            assert said == "is an Ed25519 key of small order, for which anybody can sign"


def test_without_the_refusal_anybody_could_sign() -> None:
    """R is the base point and S is 1: made without a secret, and it fits for all such keys."""
    base = point(BASE_Y)
    assert base is not None
    forged = base[1].to_bytes(32, "little") + (1).to_bytes(32, "little")

    def fits(raw: bytes, message: bytes) -> bool:
        try:
            ed25519.Ed25519PublicKey.from_public_bytes(raw).verify(forged, message)
        except InvalidSignature:
            return False
        return True

    messages = [str(number).encode() for number in range(100)]
    for raw in of_small_order():
        assert any(fits(raw, message) for message in messages)
    assert all(fits((1).to_bytes(32, "little"), message) for message in messages)


def test_a_key_beside_those_of_small_order_is_taken() -> None:
    neighbour = bytes([2]) + bytes(31)
    Ed25519([Secret(b64encode(neighbour)), Secret(spki(neighbour))])
    Ed25519([Secret(pem(ed25519_key(number))) for number in range(20)])


# ---- the forms of a key ---------------------------------------------------------------------


def forms(text: str) -> Iterator[str]:
    yield text
    yield text.strip()
    yield text.replace("\n", "\r\n")
    yield text.replace("\n", "\\n")
    yield text.replace("\n", "\\r\\n")
    yield text.replace("\n", " ")
    yield "\n\n  " + text.replace("\n", "\n    ")
    yield "Public key of the production environment\n" + text + "\n# end\n"
    body = "".join(text.strip().splitlines()[1:-1])
    yield body
    yield f" {body[:64]}\n{body[64:]}\n"
    yield "\ufeff" + text
    yield "\ufeff" + text.replace("\n", "\r\n")
    yield "\ufeff" + body
    yield f"{body[:50]}\r\n{body[50:55]}\r\n{body[55:]}"


@pytest.mark.parametrize("number", range(14))
def test_a_key_is_taken_in_the_forms_that_people_have(number: int) -> None:
    text = list(forms(pem(rsa_key())))[number]
    assert Rsa([Secret(text)]).verify(b"m", signed()) == 0
    ed = list(forms(pem(ed25519_key())))[number]
    assert Ed25519([Secret(ed)]).verify(b"m", b64encode(ed25519_key().sign(b"m")).decode()) == 0


def test_an_rsa_public_key_of_pkcs_1() -> None:
    old = rsa_key().public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1).decode()
    assert old.startswith("-----BEGIN RSA PUBLIC KEY-----")
    for text in forms(old):
        assert Rsa([Secret(text)]).verify(b"m", signed()) == 0


def test_ed25519_as_its_32_bytes() -> None:
    raw = ed25519_key().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    signature = b64encode(ed25519_key().sign(b"m")).decode()
    assert Ed25519([Secret(b64encode(raw))]).verify(b"m", signature) == 0
    assert unusable(b64encode(raw[:-1]), Ed25519).startswith("holds no public key")


# ---- what is no key -------------------------------------------------------------------------


def der(number: int, exponent: int) -> str:
    """Write any two numbers as an RSA public key."""

    def field(tag: int, content: bytes) -> bytes:
        size = len(content)
        many = size.to_bytes((size.bit_length() + 7) // 8)
        length = bytes([size]) if size < 128 else bytes([0x80 | len(many)]) + many
        return bytes([tag]) + length + content

    def integer(value: int) -> bytes:
        return field(2, value.to_bytes(value.bit_length() // 8 + 1))

    kind = bytes.fromhex("300d06092a864886f70d0101010500")
    key = field(0x30, integer(number) + integer(exponent))
    return b64encode(field(0x30, kind + field(3, b"\0" + key))).decode()


MODULUS = 2**2048 - 1942289


def test_numbers_written_by_hand_make_a_key() -> None:
    """The negatives below differ from this one in their one point."""
    assert isinstance(load_der_public_key(b64decode(der(MODULUS, 65537))), rsa.RSAPublicKey)
    Rsa([Secret(der(MODULUS, 65537)), Secret(der(MODULUS, 3)), Secret(der(2**2047 + 1, 3))])


@pytest.mark.parametrize(
    ("number", "exponent", "said"),
    [
        (2**2047 - 1, 65537, "2047 bits"),
        (2**1024 - 105, 65537, "1024 bits"),
        (2**16384 + 1, 65537, "16385 bits"),
        (MODULUS, 0, "holds no public key"),
        (MODULUS, 1, "its RSA exponent is even"),
        (MODULUS, 2, "its RSA exponent is even"),
        (MODULUS, 4, "its RSA exponent is even"),
        (MODULUS, 65536, "its RSA exponent is even"),
        (MODULUS, MODULUS + 2, "its RSA exponent is even"),
        (MODULUS + 1, 65537, "modulus is even"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_a_weak_key_is_no_key(number: int, exponent: int, said: str) -> None:
    assert said in unusable(der(number, exponent))


def test_a_key_of_another_kind() -> None:
    curve = pem(ec.generate_private_key(ec.SECP256R1()))
    assert unusable(curve) == "is a public key, but not an RSA key"
    assert unusable(pem(ed25519_key())) == "is a public key, but not an RSA key"
    assert unusable(curve, Ed25519) == "is a public key, but not an Ed25519 key"
    assert unusable(pem(rsa_key()), Ed25519) == "is a public key, but not an Ed25519 key"


@pytest.mark.parametrize("literal", [False, True])
def test_what_is_wrong_with_a_key_is_told_with_its_line(literal: bool) -> None:
    good = pem(rsa_key()).splitlines()

    def said(lines: list[str]) -> str:
        return unusable(("\\n" if literal else "\n").join(lines))

    assert said([*good[:3], good[3][:20] + "%" + good[3][21:], *good[4:]]).startswith("line 4: ")
    assert said([*good[:3], "Proc-Type: 4,ENCRYPTED", *good[3:]]).startswith("line 4: ")
    assert said(["#", *good[:-1]]) == "line 2: this PUBLIC KEY has no -----END PUBLIC KEY-----"
    assert said([*good, "", *good]) == "line 11: a second key; give each by itself"
    assert said([*good[:-1], *good]) == "line 9: a second key; give each by itself"
    assert said(["", good[0], *good[2:]]).startswith("holds no public key")
    for cut in range(1, 9):
        shorter = [*good[:4], good[4][:-cut], *good[5:]]
        assert said(shorter) == (
            "line 5: not as long as the lines around it; the key is damaged or cut off there"
        )
    assert said([good[0], good[1][:-1], *good[2:]]).startswith("line 2: not as long as")
    assert said([*good[:4], good[4] + "AA", *good[5:]]).startswith("line 5: not as long as")
    assert said([*good[:-2], good[-2][:-1], good[-1]]).startswith("line 1: the Base64")
    assert said(good[1:]) == "has no line -----BEGIN PUBLIC KEY-----"
    assert said([good[0], good[-1]]).startswith("holds no public key")
    damaged = [good[0], good[1].replace("MII", "AAA"), *good[2:]]
    assert said(damaged).startswith("holds no public key")


PRIVATE = "; openssl pkey -pubout -in FILE prints its public half"
CERTIFICATE = "; openssl x509 -noout -pubkey -in FILE prints the one in it"


def test_a_private_key_or_a_certificate_is_named_as_such() -> None:
    key = private_pem(rsa_key()).reveal().decode()
    assert unusable(key) == "line 1: a PRIVATE KEY, where a PUBLIC KEY is needed" + PRIVATE
    certificate = "\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"
    said = "line 2: a CERTIFICATE, where a PUBLIC KEY is needed"
    assert unusable(certificate) == said + CERTIFICATE
    request = "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----"
    assert unusable(request) == "line 1: a CERTIFICATE REQUEST, where a PUBLIC KEY is needed"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty; give the public key"),
        (" \\n ", "is empty; give the public key"),
        ("SB-Mid-server-abc", "line 1: neither PEM nor Base64"),
        ("ssh-rsa AAAAB3Nza me@here", "is no PEM but a key of OpenSSH; ssh-keygen -e -m PKCS8"),
        ('{"kty": "RSA"}', "is no PEM but JSON"),
        ("https://example.com/key.pem", "is no PEM but a URL; give the key that lies there"),
        ("AAAA\nserver keys", "line 1: the Base64"),
        ("AAAA\nserverkeys==", "holds no public key"),
        ("AAAA\nserver-key", "line 2: neither PEM nor Base64"),
        ("AAAAA", "line 1: the Base64 that begins here is damaged or cut off"),
        ("AA==AAAA", "line 1: the Base64 that begins here is damaged or cut off"),
        ("\ufeff", "is empty; give the public key"),
        ("\ufeff\ufeffAAAA", "line 1: not text"),
        ("\ufeffAAAA\n\ufeff", "line 2: not text"),
        ("key".encode("utf-16"), "is text in UTF-16; save it as UTF-8 or ASCII"),
        (b"\xfe\xff\0A", "is text in UTF-16; save it as UTF-8 or ASCII"),
        (b"AAAA\nA\xff", "line 2: not text; give the key in PEM or Base64"),
        ("ssh-rsa AAAAB3NzaC1yc2E=", "is no PEM but a key of OpenSSH"),
    ],
)
def test_what_is_no_key(text: str | bytes, said: str) -> None:
    assert unusable(text).startswith(said)


def test_the_position_of_the_key_is_told() -> None:
    good = Secret(pem(rsa_key()))
    with pytest.raises(UnusableKey) as caught:
        Rsa([good, good, Secret("none"), Secret("")])
    assert caught.value.position == 2


def test_no_message_shows_the_key() -> None:
    text = pem(rsa_key())
    for cut in range(0, len(text), 7):
        try:
            Rsa([Secret(text[:cut] + text[cut + 3 :])])
        except UnusableKey as error:
            assert not any(text[at : at + 12] in str(error) for at in range(27, 400))  # noqa: PT017 - whatever it says
    shown = repr(verifier(rsa_key())) + repr(vars(verifier(rsa_key())))
    assert not any(line in shown for line in text.splitlines())
