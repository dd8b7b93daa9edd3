"""`relay reload`: let the running relay read its configuration again; print what came of it."""

import sys

from relay.cli.common import CONFIG, DEFAULT_CONFIG, load_admin_settings
from relay.cli.output import FORMAT, Format, complain, print_json
from relay.cli.running_relay import NotAsked, ask
from relay.core.errors import Problem


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
