"""Finds a secret in whatever was written down, in any of the forms that it could take."""

import html
import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus


def forms(secret: str) -> Iterator[bytes]:
    """Yield a secret as it is, in hexadecimal digits, in Base64, percent-encoded and escaped.

    Base64 of a text that the secret is only a part of looks different at each of three places;
    the characters that depend on its neighbours are left out.
    """
    raw = secret.encode()
    yield raw
    yield raw.hex().encode()
    yield raw.hex().upper().encode()
    yield quote(secret, safe="").encode()
    yield quote_plus(secret).encode()
    yield from _escaped(secret)
    yield "".join(f"%{byte:02x}" for byte in raw).encode()
    yield "".join(f"%{byte:02X}" for byte in raw).encode()
    for encode in (b64encode, urlsafe_b64encode):
        for before in range(3):
            encoded = encode(bytes(before) + raw)
            first = -(-before * 8 // 6)
            yield encoded[first : (before + len(raw)) * 8 // 6]


def _escaped(secret: str) -> Iterator[bytes]:
    """Yield it as JSON, a page and Python write it; twice, too, as JSON within a line of JSON."""
    for once in (json.dumps(secret)[1:-1], repr(secret)[1:-1], ascii(secret)[1:-1]):
        yield once.encode()
        yield once.replace("/", "\\/").encode()
        yield json.dumps(once)[1:-1].encode()
    yield "".join(f"\\u{ord(each):04x}" for each in secret).encode()
    yield html.escape(secret).encode()


def found(secrets: Iterable[tuple[str, str]], places: Iterable[tuple[str, bytes]]) -> list[str]:
    """Return where which secret stands, as `NAME in PLACE`; the secrets have names too."""
    wanted = [(name, set(forms(secret))) for name, secret in secrets]
    once = {content: place for place, content in places}
    return [
        f"{name} in {place}"
        for content, place in once.items()
        for name, each in wanted
        if any(form in content for form in each)
    ]
