"""What `systemctl` does to relay.service, on a machine whose files lie below a directory.

    python -m tests.harness.systemctl ROOT start|stop|restart|reload|enable|disable [--now] relay

`ExecStart` of ROOT/etc/systemd/system/relay.service is run with its paths below ROOT, and waited
for as `Type=notify` says; a reload is `ExecReload`. Standard error goes to ROOT/log, anew at each
start; the process id is in ROOT/pid.
"""

import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tests.harness.unit_sandbox import service

_PATIENCE = 20.0


def start(root: Path) -> None:
    """Return when the relay is ready. Raises if it ends or is not ready in time."""
    words = _command(root, "ExecStart")
    notify = root / "notify"
    notify.unlink(missing_ok=True)
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening,
        (root / "log").open("wb") as log,
    ):
        listening.bind(str(notify))
        process = subprocess.Popen(
            words,
            cwd=root,
            env={**os.environ, "NOTIFY_SOCKET": str(notify)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
        )
        (root / "pid").write_text(str(process.pid))
        ended = os.pidfd_open(process.pid)
        ready, _, _ = select.select([listening.fileno(), ended], [], [], _PATIENCE)
        os.close(ended)
        if listening.fileno() not in ready or listening.recv(4096) != b"READY=1":
            raise SystemExit(f"relay.service failed: {(root / 'log').read_text()[-1000:]}")


def reload(root: Path) -> None:
    """Return when the relay has taken its configuration. Raises if it has not."""
    done = subprocess.run(_command(root, "ExecReload"), cwd=root, check=False)
    if done.returncode:
        raise SystemExit(f"relay.service: reload failed with {done.returncode}")


def _command(root: Path, key: str) -> list[str]:
    [command] = service(root / "etc/systemd/system/relay.service")[key]
    return [f"{root}{word}" if word.startswith("/") else word for word in command.split()]


def stop(root: Path) -> None:
    """Return when the relay has ended, if one runs."""
    try:
        pid = int((root / "pid").read_text())
        process = os.pidfd_open(pid)
    except (FileNotFoundError, ProcessLookupError):
        return
    signal.pidfd_send_signal(process, signal.SIGTERM)
    ended, _, _ = select.select([process], [], [], _PATIENCE)
    os.close(process)
    (root / "pid").unlink()
    if not ended:
        raise SystemExit("relay.service does not stop")


if __name__ == "__main__":
    verb = sys.argv[2]
    if verb == "reload":
        reload(Path(sys.argv[1]))
    if verb in {"stop", "restart", "disable"}:
        stop(Path(sys.argv[1]))
    if verb in {"start", "restart", "enable"}:
        start(Path(sys.argv[1]))
