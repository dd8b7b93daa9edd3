"""Warnings about signatures by hashes that are no longer recommended."""

from collections.abc import Iterator
from typing import Final

from relay.config.lint_topology import Advice
from relay.config.yaml_document import Location
from relay.providers.inline import Description

_WEAK: Final = {
    ("hmac", "md5"): "is an HMAC with MD5, which nobody recommends any more",
    ("hmac", "sha1"): "is an HMAC with SHA-1, which is sound still, and no longer recommended",
    ("digest", "md5"): "is MD5, for which two texts with one hash are made in seconds",
    ("digest", "sha1"): "is SHA-1, for which two texts with one hash have been made",
}


def weak_hash(described: Description, location: Location) -> Iterator[Advice]:
    """Yield that the hash of a signature is weak, unless what is to be minded names it already.

    location: of the signature.
    """
    rule = described.signature
    said = _WEAK.get((rule.scheme, rule.algorithm))
    traps = () if described.about is None else described.about.traps
    if said is None or any(_names(trap, rule.algorithm) for trap in traps):
        return
    message = f"{said}; take sha256 if the sender can, or say in about.traps that it cannot"
    yield Advice((*location, "algorithm"), "weak-hash", message)


def _names(trap: str, algorithm: str) -> bool:
    return algorithm in trap.lower().replace("-", "")
