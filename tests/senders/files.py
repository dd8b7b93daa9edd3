"""Reading the files of config/senders, and what each sender signs with."""

import re
from base64 import b64encode
from functools import cache
from pathlib import Path

from relay.config import Endpoint, Settings, endpoint_options, load, provider_of
from relay.core.secret import Secret
from relay.providers import Inspector
from tests.contracts.provider import new_rsa_keys

SENDERS = Path(__file__).parents[2] / "config/senders"
NAMES = tuple(sorted(path.stem for path in SENDERS.glob("*.yaml")))
#: A public key of the documentation of Standard Webhooks.
ED25519 = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
_VARIABLE = re.compile(r"\$\{env:(\w+)\}")
WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


#: What is no text that somebody chose.
_SHAPED = {
    "STRIPE_WEBHOOK_SECRET": WHSEC,
    "ADYEN_HMAC_KEY": "0123456789abcdef" * 2,
    "WEBHOOK_SECRET": WHSEC,
    "WEBHOOK_PUBLIC_KEY": ED25519,
}


def environ() -> dict[str, str]:
    """Return a value for every variable that a file of config/senders names."""
    named = {
        variable: f"the-secret-{variable.lower()}"
        for name in NAMES
        for variable in _VARIABLE.findall((SENDERS / f"{name}.yaml").read_text())
    }
    return named | _SHAPED


@cache
def wise_key() -> bytes:
    return new_rsa_keys().verifying.reveal()


def loaded(name: str, directory: Path) -> Settings:
    """Load a sender's file where the files exist that it names."""
    (directory / "wise.pem").write_bytes(wise_key())
    file = directory / "relay.yaml"
    file.write_bytes((SENDERS / f"{name}.yaml").read_bytes())
    return load(file, environ())


def endpoint(name: str, directory: Path) -> Endpoint:
    return loaded(name, directory).endpoints[0]


def inspector(found: Endpoint, *secrets: str) -> Inspector:
    """Return the inspector that would serve this endpoint, with these secrets."""
    given = found.model_copy(update={"secrets": tuple(Secret(each) for each in secrets)})
    provider = provider_of(given)
    return provider.bind(endpoint_options(given, provider.info))


def base64(text: bytes) -> str:
    return b64encode(text).decode("ascii")
