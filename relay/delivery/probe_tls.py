"""TLS with a peer that is tried: the handshake alone, and what is to be said of it."""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from relay.core.visible_text import visible
from relay.delivery.http import LastWords, refusal
from relay.signatures.certificates import certificate_info

# Seconds that a peer has after a handshake to refuse what it was shown: twice what the handshake
# took, within these.
_LEAST_WAIT, _LONGEST_WAIT = 0.05, 1.0

# What is listed of names, and the longest of those.
_LISTED, _LONGEST_NAME = 4, 80

#: By what OpenSSL calls the alert that has come (RFC 8446, 6.2).
_ALERTS: Final = {
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "there is no cipher or version that both know",
    "TLSV1_ALERT_PROTOCOL_VERSION": "there is no version of TLS that both speak",
    "TLSV1_UNRECOGNIZED_NAME": "it serves nothing of this name: tls.server_name names another",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not trust who issued it",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it has ended",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "it was revoked",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "it is of a kind that is not taken",
}


@dataclass(frozen=True, slots=True)
class Session:
    """What a handshake has led to. certificate: the peer's, in DER."""

    version: str
    certificate: bytes


class _Silent(asyncio.Protocol):
    """A connection on which nothing is sent; `lost` is set to what has ended it."""

    def __init__(self, lost: "asyncio.Future[Exception | None]") -> None:
        self._lost = lost

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._lost.done():
            self._lost.set_result(exc)


async def handshake(opened: socket.socket, tls: ssl.SSLContext, server_name: str) -> Session:
    """Make a handshake over a socket that is connected, as a `Pool` does, and close it.

    Raises:
        OSError, ValueError: it has failed, or the peer refuses what it was shown in it.
    """
    loop = asyncio.get_running_loop()
    lost: asyncio.Future[Exception | None] = loop.create_future()
    began = loop.time()
    taken = LastWords.of(opened)
    try:
        transport, _ = await loop.create_connection(
            lambda: _Silent(lost), sock=taken, ssl=tls, server_hostname=server_name
        )
    except BaseException:
        taken.close()
        raise
    try:
        session = transport.get_extra_info("ssl_object")
        der, version = session.getpeercert(binary_form=True), session.version()
        # Of TLS 1.3, the peer judges our certificate only after our side of the handshake.
        wait = min(max(_LEAST_WAIT, 2 * (loop.time() - began)), _LONGEST_WAIT)
        await asyncio.wait([lost], timeout=wait)
        if lost.done() and isinstance(error := lost.result(), ssl.SSLError):
            raise refusal(error, shown=getattr(tls, "shows_certificate", False))
        return Session(version.replace("v", " "), der)
    finally:
        transport.abort()


def trusting_anyone() -> ssl.SSLContext:
    """Return a context that checks nothing and shows nothing, to look at a certificate with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def described(certificate: bytes, now: datetime) -> str:
    """Return names, issuer and end of a certificate as text that can be shown."""
    try:
        found = certificate_info(certificate)
    except ValueError:
        return "a certificate that cannot be read"
    days = (found.ends - now).days
    if now > found.ends:
        time = f"ended {found.ends.date()}"
    elif now < found.begins:
        time = f"begins {found.begins.date()}"
    else:
        time = f"ends {found.ends.date()}, in {days} day{'' if days == 1 else 's'}"
    return f"certificate of {listed(found.names)}; issuer {listed([found.issuer])}; {time}"


def alert(error: Exception) -> str:
    """Return what a peer means by the alert of TLS that it has sent; empty without one."""
    reason = getattr(error, "reason", None) or ""
    if "ALERT" not in reason and reason not in _ALERTS:
        return ""
    return _ALERTS.get(reason, "it refuses the handshake")


def listed(texts: Sequence[str]) -> str:
    """Return the first of these, and how many more there are."""
    shown = ", ".join(visible(text[:_LONGEST_NAME]) for text in texts[:_LISTED])
    more = len(texts) - _LISTED
    return f"{shown} and {more} more" if more > 0 else shown
