"""A control, not a test: `relay` with a spool that does not sync its commits.

What proves that relay syncs before it answers must find this one out. It is run as
`python normal_sync_control.py run -c relay.yaml`; relay itself has no such switch.
"""

from typing import Any

import apsw


class _Careless(apsw.Connection):
    """A connection that says `synchronous=FULL` and works with NORMAL."""

    def pragma(self, name: str, value: Any = None, **options: Any) -> Any:
        if name == "synchronous":
            super().pragma(name, 1)
            return 2
        return super().pragma(name) if value is None else super().pragma(name, value)


if __name__ == "__main__":
    apsw.Connection = _Careless  # type: ignore[misc]
    from relay.cli import main

    main()
