"""TLS to upstreams: contexts made from one state of their files, each loaded once, in a thread.

A context is never changed. When a file has, or the link on the way to it, a reload makes another
one, and with it another sender: what is under way ends with the one that it started with.
"""

import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from relay.app.upstream_parts import oauth2_of
from relay.config import Settings
from relay.config.upstream_settings import Upstream as UpstreamSettings
from relay.config.yaml_document import ConfigIssue
from relay.core.concurrency import run_in_daemon_thread
from relay.core.errors import ConfigError
from relay.core.files import Fingerprint, fingerprint
from relay.core.urls import is_https
from relay.delivery.http import client_context


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The files that a context is made from; without `ca`, the system's authorities are trusted."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @property
    def name(self) -> str:
        """A name that no other files have."""
        return "\0".join(map(str, (self.ca, self.certificate, self.key)))

    @property
    def paths(self) -> list[Path]:
        """Those that there are."""
        return [each for each in (self.ca, self.certificate, self.key) if each is not None]

    async def fingerprint(self) -> Fingerprint:
        """Return the stamps of the files. To be taken before they are read. Raises nothing."""
        paths = self.paths
        return await run_in_daemon_thread(partial(fingerprint, paths)) if paths else ()


#: Files, and their state before they are read.
TlsKey = tuple[TlsFiles, Fingerprint]
#: Contexts by what they are made from; None has none.
Contexts = Mapping[TlsFiles | None, ssl.SSLContext]


class ClientTls:
    """TLS by these files, as they are when it is loaded."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._context: ssl.SSLContext | None = None

    async def context(self) -> ssl.SSLContext:
        """Return the context, loaded at the first call.

        Raises:
            OSError, ssl.SSLError, ValueError: as `client_context`.
        """
        if self._context is None:
            files = self._files
            load = partial(client_context, files.ca, files.certificate, files.key)
            self._context = await run_in_daemon_thread(load)
        return self._context


def upstream_files(settings: UpstreamSettings) -> TlsFiles | None:
    """Return what TLS to an upstream is made from; None where there is none."""
    if not is_https(settings.url):
        return None
    return TlsFiles(settings.tls.ca, settings.tls.certificate, settings.tls.key)


def token_server_files(settings: UpstreamSettings) -> TlsFiles | None:
    """Return the same for its token server, which is shown no certificate."""
    client = oauth2_of(settings)
    if client is None or not is_https(client.token_url):
        return None
    return TlsFiles(settings.tls.ca)


async def contexts(settings: Settings, client_tls: Callable[[str, TlsKey], ClientTls]) -> Contexts:
    """Return the context of all files that upstreams and token servers of this file need.

    client_tls: returns the part that is made from these files in this state, under a name.

    Raises:
        ConfigError: files cannot be used, which could be when the configuration was checked.
    """
    found: dict[TlsFiles | None, ssl.SSLContext] = {}
    for name, upstream in settings.upstreams.items():
        for files in (upstream_files(upstream), token_server_files(upstream)):
            if files is None or files in found:
                continue
            # Stamped before they are read: a change meanwhile is then found at the next reload.
            part = client_tls(files.name, (files, await files.fingerprint()))
            try:
                found[files] = await part.context()
            except (OSError, ValueError) as error:
                issue = ConfigIssue(("upstreams", name, "tls"), _unusable(error, files))
                raise ConfigError([settings.source.problem(issue)]) from None
    return found


def _unusable(error: Exception, files: TlsFiles) -> str:
    """Return what to say of files that are half written, or gone."""
    paths, why = files.paths, "do not fit together, or hold no certificates"
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
        why = f"cannot be read: {error.strerror}"
        # The error itself does not say which.
        paths = [each for each in paths if not os.access(each, os.R_OK)] or paths
    what = ", ".join(map(str, paths)) or "the system's authorities"
    return f"{what} {why}; they are tried again when they have changed"
