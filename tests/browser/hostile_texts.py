"""What somebody may choose as the id of an order, so that a page or a reader does what it should
not.
"""

from collections.abc import Iterator
from typing import Final

_MARKUP: Final = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    '"><svg/onload=alert(1)>',
    "'><iframe src=javascript:alert(1)>",
    "</td></tr></table><h1>Paid</h1>",
    "</title><script>alert(1)</script>",
    "</textarea><script>alert(1)</script>",
    '" autofocus onfocus=alert(1) x="',
    "' onmouseover='alert(1)",
    "<a href=javascript:alert(1)>x</a>",
    "<base href=http://127.0.0.1:9/>",
    "<link rel=stylesheet href=http://127.0.0.1:9/x.css>",
    "<meta http-equiv=refresh content=0;url=http://127.0.0.1:9/>",
    "<form action=http://127.0.0.1:9/><button>Pay</button></form>",
    "<object data=data:text/html,<script>alert(1)</script>>",
    "<style>*{display:none}</style>",
    "<details open ontoggle=alert(1)>",
    "<math><mtext></mtext><a xlink:href=javascript:alert(1)>",
    "<!--",
    "]]>",
    "&lt;script&gt;",
    "&#x202e;",
    "{{ 7 * 7 }}",
    "{% raw %}",
    "${7*7}",
    "<div hx-get=/logout hx-trigger=load>",
    "javascript:alert(1)",
    "../../login",
    "%3Cscript%3E",
)

_STEERING: Final = (
    "\x1b[2J\x1b[1;1H",
    "\x1b[31mred",
    "\x1b]0;title\x07",
    "\x9b31m",
    "\x07",
    "a\rb",
    "a\nb",
    "a\tb",
    "\x7f",
    "\x00",
)

_BIDI: Final = (
    "\u202e0001-drawer",
    "\u202dabc\u202c",
    "\u2066abc\u2069",
    "\u2067abc",
    "\u061cabc",
    "\u200fabc",
    "\u0627\u0644\u0641 123",
    "\u05d0\u05d1\u05d2-7",
)

_UNSEEN: Final = (
    "a\u200bb",
    "a\u200db",
    "\ufeffa",
    "a\u2060b",
    "a\u00adb",
    "\u3164",
    "\u2800",
    "a\u034fb",
    "\U000e0041a",
    "\u2028",
)

_FORMULAS: Final = (
    "=1+1",
    "+1",
    "-1",
    "@SUM(1)",
    '=HYPERLINK("http://127.0.0.1:9/","x")',
    "=cmd|'/c calc'!A0",
)

_LARGE: Final = ("x" * 10_000, "<b>" * 3000, "\U0001f600" * 2000, "Z\u0351\u036b\u0343" * 700)


def hostile_texts() -> Iterator[str]:
    """Yield more than 300 texts, no two alike."""
    small = (*_MARKUP, *_STEERING, *_BIDI, *_UNSEEN, *_FORMULAS)
    for text in small:
        yield text
        yield f"{text}-7"
        yield f"ORDER-{text}"
        yield f"ORDER {text} 7"
        yield text * 3
    yield from _LARGE
