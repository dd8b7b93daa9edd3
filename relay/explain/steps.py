"""What is told of a request: the steps that it took, and what stopped it."""

from dataclasses import dataclass, field

from relay.config import Settings
from relay.errors import Reason, Refusal
from relay.explain.capture import Captured, line_at_fault
from relay.explain.opening import told
from relay.masking import Mask
from relay.model import Headers

OK, NO, NOTE = "ok", "no", "-"

_TAKE_OFF = (
    "it begins with a PROXY header, and no listener has proxy_protocol: true; take the header off,"
    " and give the address that it names with --peer"
)


@dataclass(frozen=True, slots=True)
class Step:
    """One step: `ok`, `no`, or `-` where nothing is decided."""

    name: str
    result: str
    said: str


@dataclass(slots=True)
class Walk:
    """All steps, and the first reason to refuse; None when the request would be accepted.

    judged: whether the client's address was known, so that it could be judged.
    health: it is no delivery but a health check, which everybody is answered.
    """

    steps: list[Step] = field(default_factory=list)
    endpoint: str | None = None
    reason: Reason | None = None
    judged: bool = True
    health: bool = False
    nearest: list[str] = field(default_factory=list)


def unread(settings: Settings, captured: Captured, refusal: Refusal) -> Walk:
    """Return the walk of a request that ends before the relay knows where it goes."""
    mask = Mask(settings.every_secret(), Headers())
    found = Walk([Step("capture", NOTE, mask.text(note)) for note in captured.notes])
    found.reason = refusal.reason
    name, where, detail = "head", "", f": {refusal.detail}" if refusal.detail else ""
    if captured.opening is None:
        line = line_at_fault(captured.raw)
    elif refusal.reason is Reason.PROXY_HEADER_INVALID:
        name, line = "proxy", None
    elif not any(each.proxy_protocol for each in settings.listen):
        line = 1
        found.nearest.append(_TAKE_OFF)
    else:
        found.steps.append(Step("proxy", OK, told(captured.opening)))
        line = line_at_fault(captured.raw)
        line = None if line is None else line + captured.opening.lines
    where = "" if line is None else f", line {line}"
    found.steps.append(Step(name, NO, f"{refusal.reason.value}{detail}{where}"))
    return found
