"""Asking the relay that runs: one request to its admin listener, with the token of the file."""

import http.client
from dataclasses import dataclass
from typing import Any, Final

import orjson

from relay.config import Admin
from relay.core.errors import RelayError

# Seconds. A reload reads files, which may lie on a slow disk.
_TIMEOUT: Final = 60.0

UNAUTHORIZED: Final = 401

#: Why a relay that runs does not answer.
ANOTHER_TOKEN: Final = "the running relay has another admin.token; a new one takes a restart"  # noqa: S105 - none


@dataclass(frozen=True, slots=True)
class Answer:
    """What the running relay answered: the status, and JSON."""

    status: int
    content: dict[str, Any]


class NotAsked(RelayError):
    """The running relay cannot be asked, or does not answer."""


def ask(admin: Admin, path: str, *, method: str = "POST") -> Answer:
    """Ask the admin listener of the relay that runs with these settings; return the answer.

    Raises:
        NotAsked: no token is configured, nobody answers, or the token is another one.
    """
    fields = {"Authorization": bearer(admin, reads=method == "GET")}
    host = admin.bind.from_here.host
    connection = http.client.HTTPConnection(host, admin.bind.port, timeout=_TIMEOUT)
    try:
        connection.request(method, path, headers=fields)
        answer = connection.getresponse()
        status, content = answer.status, orjson.loads(answer.read())
    except TimeoutError:
        raise NotAsked(f"the relay at {admin.bind} has not answered in {_TIMEOUT:.0f} s") from None
    except (OSError, http.client.HTTPException, orjson.JSONDecodeError) as error:
        cause = error.strerror if isinstance(error, OSError) else None
        message = f"no relay answers at {admin.bind} (admin.bind): {cause or 'that is none'}"
        raise NotAsked(message) from None
    finally:
        connection.close()
    if status == UNAUTHORIZED:
        raise NotAsked(ANOTHER_TOKEN)
    return Answer(status, content)


def bearer(admin: Admin, *, reads: bool) -> bytes:
    """Return the Authorization field of a request to the running relay.

    reads: it changes nothing, so that the token which may read is enough.

    Raises:
        NotAsked: no token is configured.
    """
    token = admin.token or (admin.read_token if reads else None)
    if token is None:
        instead = "" if reads else "; send SIGHUP instead"
        raise NotAsked(f"admin.token is not set, so the admin API is closed{instead}")
    return b"Bearer " + token.reveal()
