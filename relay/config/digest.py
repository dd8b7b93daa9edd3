"""A short digest of a configuration, to tell whether two processes run the same one."""

from hashlib import sha256
from typing import Final

import orjson

from relay.config.settings import Settings

#: Hexadecimal digits of a digest.
LENGTH: Final = 16


def digest(settings: Settings) -> str:
    """Return the digest of every key. No secret is part of it, nor where in a file a key stands.

    With thousands of endpoints it takes a while.
    """
    # Addresses are models to pydantic and mappings to us, which it would warn of. A secret is `***`
    # to `str`.
    keys = settings.model_dump(warnings=False)
    text = orjson.dumps(keys, default=str, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
    return sha256(text).hexdigest()[:LENGTH]
