"""`relay reload`: let the running relay read its configuration again; print what came of it."""

import http.client
import sys
from dataclasses import dataclass
from typing import Any, Final

import orjson

from relay.cli.common import CONFIG, DEFAULT_CONFIG, load_admin_settings
from relay.cli.output import FORMAT, Format, complain, print_json
from relay.config import Admin
from relay.core.errors import Problem, RelayError

# Seconds. A reload reads files, which may lie on a slow disk.
_TIMEOUT: Final = 60.0

_UNAUTHORIZED: Final = 401


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
    if admin.token is None:
        raise NotAsked("admin.token is not set, so the admin API is closed; send SIGHUP instead")
    host = admin.bind.from_here.host
    connection = http.client.HTTPConnection(host, admin.bind.port, timeout=_TIMEOUT)
    fields = {"Authorization": b"Bearer " + admin.token.reveal()}
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
    if status == _UNAUTHORIZED:
        raise NotAsked("the running relay has another admin.token; a new one takes a restart")
    return Answer(status, content)


def reload(config: CONFIG = DEFAULT_CONFIG, form: FORMAT = Format.TEXT) -> None:
    """Ask the running relay to read its configuration again. It takes all of it, or nothing.

    Exit 0 when it was taken, 1 when it was refused, as where a restart is needed or no relay
    answers, 2 for a mistake in the file.

    Example: relay reload -c /etc/relay/relay.yaml
    """
    try:
        answer = ask(load_admin_settings(config), "/-/reload")
    except NotAsked as error:
        complain(f"relay reload: {error}")
        sys.exit(1)
    if form is Format.JSON:
        print_json(answer.content)
    elif answer.content.get("reloaded"):
        sys.stdout.write("the configuration is in force\n")
    else:
        for finding in answer.content.get("findings", ()):
            complain(str(Problem(**finding)))
        complain(f"relay reload: {answer.content['error']}")
    if not answer.content.get("reloaded"):
        sys.exit(2 if answer.content.get("kind") == "mistake" else 1)
