"""Reading the files of config/senders, and the inspectors that would serve them."""

from base64 import b64encode
from pathlib import Path

from relay.config import Endpoint, Settings, endpoint_options, load, provider_of
from relay.core.secret import Secret
from relay.providers import Inspector
from tests.senders.keys import SENDERS, environ, write_key_files

WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def loaded(name: str, directory: Path) -> Settings:
    """Load a sender's file where the files exist that it names."""
    write_key_files(name, directory)
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
