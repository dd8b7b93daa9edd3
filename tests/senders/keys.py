"""What each file of config/senders is configured with, and what its sender signs with.

A pair of keys is made for each file whose scheme has public ones, in the way in which the file
says that its keys are written; a shared secret is text of the form that it says.
"""

import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from relay.config.yaml_document import parse

SENDERS = Path(__file__).parents[2] / "config/senders"
NAMES = tuple(sorted(path.stem for path in SENDERS.glob("*.yaml")))
#: One of each kind of proof and body, for what takes long: all others go with the proofs.
FEW = frozenset(
    {
        *("adyen", "doku", "github", "meta", "microsoft-graph", "plaid", "sendgrid", "slack"),
        *("stripe", "swish", "twilio", "zendesk"),
    }
)
#: Warnings of `relay check` that are right for whoever uses these: no file of theirs can mend it.
INHERENT: Mapping[str, set[str]] = {
    "mailgun": {"body-unsigned"},
}
_REFERENCE = re.compile(r"\$\{(env|file):([^}]+)\}")
_Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True)
class SenderKeys:
    """The keys of one sender. option: how `relay send` is told the sender's half.

    asking: of a sender that asks for an access token, the keys of that, besides.
    """

    verifying: str
    signing: str
    option: str
    asking: "SenderKeys | None" = None

    def options(self, directory: Path) -> list[str]:
        """Return the words of `relay send`, with a private key in a file of this directory."""
        if self.option != "--key":
            own = [self.option, self.signing] if self.signing else []
            return [*own, *(() if self.asking is None else self.asking.options(directory))]
        file = directory / "private.pem"
        file.write_text(self.signing)
        return [self.option, str(file)]


def described(name: str) -> Mapping[str, Any]:
    """Return the endpoint of a file, as it is written there."""
    data: Any = parse((SENDERS / f"{name}.yaml").read_text()).data
    endpoint: Mapping[str, Any] = data["endpoints"][0]
    return endpoint


@cache
def keys(name: str) -> SenderKeys:
    """Return what a file is configured with and what its sender signs with."""
    # Two files of one sender may name one variable.
    named = "".join(described(name).get("secrets", ())[:1])
    found = _REFERENCE.search(named)
    of = name if found is None else found[2].lower()
    return _keys(name, f"the-secret-of-{of}-which-is-long-enough")


@cache
def other_keys(name: str) -> SenderKeys:
    """Return keys of the same kind that are none of this sender's."""
    return _keys(name, f"another-secret-than-that-of-{name}-as-long")


def _keys(name: str, text: str) -> SenderKeys:  # noqa: PLR0911 - one for each scheme
    provider = described(name)["provider"]
    if "snap" in provider:
        return _snap(text, symmetric=provider["snap"].get("signature") == "symmetric")
    signature = provider.get("signature", {}) if isinstance(provider, Mapping) else {}
    encoding = signature.get("secret_encoding", "text")
    prefix = signature.get("strip_prefix", "")
    match signature.get("scheme", "hmac"), *signature.get("algorithms", ()):
        case ["none"]:
            return SenderKeys("", "", "--secret")
        case ["rsa"] | ["jwt", "RS256" | "RS384" | "RS512" | "PS256" | "PS384" | "PS512", *_]:
            return _pair(rsa.generate_private_key(65537, 2048), "text", prefix)
        case ["ecdsa"] | ["jwt", "ES256", *_]:
            return _pair(ec.generate_private_key(ec.SECP256R1()), encoding, prefix)
        case ["ed25519"] | ["jwt", "EdDSA", *_]:
            return _pair(ed25519.Ed25519PrivateKey.generate(), encoding, prefix)
        case ["basic"]:
            return _shared(f"user:{text}")
    if encoding == "hex":
        text = text.encode().hex()
    if encoding == "base64":
        text = b64encode(text.encode()).decode()
    return _shared(prefix + text)


def _snap(text: str, *, symmetric: bool) -> SenderKeys:
    pair = _pair(rsa.generate_private_key(65537, 2048), "text", "")
    return replace(_shared(text), asking=pair) if symmetric else pair


def environ() -> dict[str, str]:
    """Return a value for every variable that a file of config/senders names."""
    named: dict[str, str] = {}
    for name in NAMES:
        endpoint = described(name)
        for kind, variable in _REFERENCE.findall((SENDERS / f"{name}.yaml").read_text()):
            if kind == "env" and any(variable in each for each in endpoint.get("secrets", ())):
                named[variable] = keys(name).verifying
            elif kind == "env":
                named[variable] = f"the-secret-{variable.lower()}"
    return named


def write_key_files(name: str, directory: Path) -> None:
    """Write the files that the secrets of a file name."""
    for each in described(name).get("secrets", ()):
        found = _REFERENCE.fullmatch(each)
        if found is not None and found[1] == "file":
            (directory / found[2]).write_text(keys(name).verifying)
    asking = keys(name).asking
    for each in described(name).get("tokens", {}).get("keys", ()):
        found = _REFERENCE.fullmatch(each)
        assert found is not None
        assert asking is not None
        (directory / found[2]).write_text(asking.verifying)


def _shared(text: str) -> SenderKeys:
    return SenderKeys(text, text, "--secret")


def _pair(private: _Private, encoding: str, prefix: str) -> SenderKeys:
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = private.public_key()
    if encoding == "text":
        found = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        return SenderKeys(found, pem, "--key")
    raw = (
        public.public_bytes_raw()
        if isinstance(public, ed25519.Ed25519PublicKey)
        else public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    written = raw.hex() if encoding == "hex" else b64encode(raw).decode()
    return SenderKeys(prefix + written, pem, "--key")
