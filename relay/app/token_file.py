"""The access tokens that senders were given, on disk: what was issued is good after a restart.

One JSON file holds the digest of each token, and the end of its life; no token stands in it. It is
written behind the answers, whole and atomically: a crash in the moment between an answer and its
write loses that token, and its sender asks for another.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from relay.config import Settings
from relay.core.clock import Clock
from relay.core.files import replace
from relay.providers.snap.access_tokens import AccessTokens

#: At most one write in this time, in seconds: each writes all.
_WRITE_INTERVAL: Final = 1.0
_RETRY_INTERVAL: Final = 60.0

_Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
_End = Annotated[int, Field(ge=0, le=2**53)]


class _Saved(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    version: Literal[1] = 1
    endpoints: dict[str, dict[_Digest, _End]]


class TokenFile:
    """The file of `tokens`. `load` reads it once, at the start; `run` writes until cancelled."""

    def __init__(
        self, path: Path, clock: Clock, unsaved: Callable[[str], None] = lambda _: None
    ) -> None:
        """Use this file. unsaved: called with the reason each time a write fails."""
        self._path = path
        self._clock = clock
        self._unsaved = unsaved
        self._dirty = asyncio.Event()
        self._problem = False
        self.tokens: Final = AccessTokens(self._dirty.set)

    def load(self) -> str | None:
        """Read the file. Return why it was ignored, or None when it was not; raises nothing.

        Without a file, as at the first start, there are no tokens.
        """
        try:
            saved = _Saved.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            return f"{self._path}: {error.strerror}"
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            return f"{self._path}: {first['msg']}"
        self.tokens.restore(saved.endpoints, self._clock.now())
        return None

    async def run(self) -> None:
        """Write after new tokens, until cancelled; retry a failed write after a minute."""
        while True:
            await self._dirty.wait()
            await self.save()
            await self._clock.sleep(_RETRY_INTERVAL if self._problem else _WRITE_INTERVAL)

    async def save(self) -> None:
        """Write now, in a thread, if there is anything new. Raises nothing."""
        if not self._dirty.is_set():
            return
        self._dirty.clear()
        saved = _Saved(endpoints=self.tokens.saved(self._clock.now()))
        try:
            await asyncio.to_thread(replace, self._path, saved.model_dump_json().encode())
        except asyncio.CancelledError:
            self._dirty.set()
            raise
        except OSError as error:
            self._problem = True
            self._dirty.set()
            self._unsaved(f"{self._path}: {error.strerror}")
        else:
            self._problem = False


def token_file(
    settings: Settings, clock: Clock, unsaved: Callable[[str], None] = lambda _: None
) -> TokenFile:
    """Return the file of these settings, not loaded yet."""
    return TokenFile(settings.state_dir / "access-tokens.json", clock, unsaved)


def known_tokens(settings: Settings, clock: Clock) -> AccessTokens:
    """Return the tokens that the running relay last wrote down; none where it cannot be read."""
    file = token_file(settings, clock)
    file.load()
    return file.tokens
