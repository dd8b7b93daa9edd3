"""How old an event is, by the clock of who serves it now.

It is as old as it was when it fell due, whatever clock that went by, and grows older while there is
somebody to serve it. So neither a clock that was wrong, before or now, nor a time without a relay
brings it any nearer to being given up.

SQL over a row of `events`: `:now` is the time, `:began` that since which there is somebody. A row
that is damaged gives a time, too: it must not end a statement that is about others as well.
"""

from typing import Final

#: When the event fell due: not before somebody was there, and not after now.
FELL_DUE: Final = "ifnull(max(min(due_at, :now), :began), :now)"

#: When its round began.
SINCE: Final = f"min(ifnull(CAST(since + {FELL_DUE} - due_at AS INTEGER), :now), :now)"
