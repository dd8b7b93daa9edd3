"""Becomes a program under the system call filter of a systemd unit, which is applied here by hand.

    python tests/harness/unit_sandbox.py UNIT PROGRAM [ARGUMENT...]

systemd applies it only where it is the first process. What the groups (`@system-service`) hold is
asked of `systemd-analyze`; the filter is loaded by libseccomp, which systemd depends on.
"""

import ctypes
import errno
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

LIBRARY = "libseccomp.so.2"
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NO_NEW_PRIVILEGES, _REFUSE_EXEC_GAIN = 38, 65


def service(unit: Path) -> dict[str, list[str]]:
    """Return the values of each key in [Service], in their order. No line of it is continued."""
    section, found = "", dict[str, list[str]]()
    for line in unit.read_text(encoding="utf-8").splitlines():
        key, equals, value = line.partition("=")
        if line.startswith("["):
            section = line
        elif equals and section == "[Service]" and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def allowed(filters: Iterable[str]) -> set[str]:
    """Return the system calls that these values of `SystemCallFilter` allow, in their order."""
    calls = _group("@default")
    for each in filters:
        names = {call for word in each.removeprefix("~").split() for call in _named(word)}
        calls = calls - names if each.startswith("~") else calls | names
    return calls


def _named(word: str) -> set[str]:
    return _group(word) if word.startswith("@") else {word}


def _group(name: str) -> set[str]:
    shown = subprocess.run(
        ["systemd-analyze", "syscall-filter", "--no-pager", name],
        capture_output=True,
        text=True,
        check=True,
    )
    words = [line.strip() for line in shown.stdout.splitlines()[1:]]
    return {call for word in words if word and word[0] != "#" for call in _named(word)}


def confine(calls: Iterable[str]) -> None:
    """Let this process and what it becomes make no other system calls: they fail with EPERM."""
    seccomp, libc = ctypes.CDLL(LIBRARY), ctypes.CDLL(None)
    seccomp.seccomp_init.restype = ctypes.c_void_p
    seccomp.seccomp_load.argtypes = [ctypes.c_void_p]
    seccomp.seccomp_rule_add.argtypes = [
        *(ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint)
    ]
    context = seccomp.seccomp_init(_ERRNO | errno.EPERM)
    for call in calls:
        # Below 0: a call of another architecture.
        if (number := seccomp.seccomp_syscall_resolve_name(call.encode())) >= 0:
            seccomp.seccomp_rule_add(context, _ALLOW, number, 0)
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    # As MemoryDenyWriteExecute; a kernel before 6.3 does not know it.
    libc.prctl(_REFUSE_EXEC_GAIN, 1, 0, 0, 0)
    if seccomp.seccomp_load(context):
        raise OSError("the filter cannot be loaded")


if __name__ == "__main__":
    confine(allowed(service(Path(sys.argv[1]))["SystemCallFilter"]))
    os.execvp(sys.argv[2], sys.argv[2:])
