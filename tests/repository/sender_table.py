"""The lists of ready senders in README.md and config/README.md, made from config/senders.

`make docs` writes them anew, between their markers.
"""

import re
import textwrap
from pathlib import Path

from relay.cli.providers import named_or_described
from relay.config import presets
from relay.providers import ProviderInfo

ROOT = Path(__file__).parents[2]
BEGIN = "<!-- senders: written by `make docs` -->"
END = "<!-- end of senders -->"
_WIDTH = 120
_POINTER = re.compile(r"\{json:[^{}]*/([^{}/]+)\}")


def _infos() -> dict[str, ProviderInfo]:
    return {name: named_or_described(name).provider.info for name in presets.files()}


def names() -> str:
    """Return the names of all senders, as the first page lists them."""
    titles = (info.title.partition(":")[0] for info in _infos().values())
    shown = dict.fromkeys(title.partition(",")[0] for title in titles)
    text = ", ".join(sorted(shown, key=str.lower))
    return "\n".join(textwrap.wrap(text + ".", _WIDTH, break_on_hyphens=False))


def table() -> str:
    """Return what each file is for, and what its messages prove themselves by."""
    lines = ["| name | is | proves itself by | signs |", "|---|---|---|---|"]
    for name, info in _infos().items():
        kind, _, rest = info.signature.partition(", ")
        _, _, signed = rest.rpartition(", of ")
        if info.token or not signed:
            kind, signed = info.signature.partition(" in ")[0], ""
        signed = _POINTER.sub(r"{\1}", signed)
        cells = (
            f"[{name}](senders/{name}.yaml)",
            info.title,
            kind,
            f"`{signed}`" if signed else "",
        )
        lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    return "\n".join(lines)


#: What each page holds.
PAGES = {ROOT / "README.md": names, ROOT / "config/README.md": table}


def written(page: Path) -> str:
    """Return the page with the generated part as it has to be."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{PAGES[page]()}\n\n{END}{after}"


if __name__ == "__main__":
    for each in PAGES:
        each.write_text(written(each))
