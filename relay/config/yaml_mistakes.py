"""Guess a sentence for a YAML syntax error from the text around the place where the parser stopped.

The parser's own words differ from version to version, so only its position is used: the sentence
comes from the character there, the brackets and quotes open before it, and the lines around it.
`yaml_document` adds line and column. Pure; not a second parser of YAML.
"""

import re
from typing import Final

GENERAL: Final = "something else is expected here; look at quotes, brackets and the indentation"

_NOT_CLOSED: Final = {
    "[": 'a "[" is not closed, or a comma is missing',
    "{": 'a "{" is not closed, or a comma is missing',
    '"': "a quoted text is not closed",
    "'": "a quoted text is not closed",
}
_NO_VALUE: Final = 'a value is missing, or text such as "[::]:8443" needs quotes'
_ESCAPE: Final = "unknown escape; double the backslash, or use single quotes"
_TABS: Final = "indent with blanks, not with tabs"
_KEY: Final = "a key is expected; is the line indented like its neighbours?"
_COLON: Final = 'a key needs ":" and a blank behind it'
_ITEM: Final = 'a "-" is expected; is the line indented like its neighbours?'

_REFERENCE: Final = '${...} needs quotes within brackets, such as ["${env:NAME}"]'
_QUOTE_COLON: Final = 'text with a ":" needs quotes here'
_OWN_LINE: Final = "a list begins on a line of its own"
_DIRECTIVE: Final = "this directive is not one of YAML 1.2; remove the line"
_QUOTES: Final = frozenset("'\"")

#: What a token cannot begin with, or begins with to mean something that is not taken here.
_BEGINNINGS: Final = {
    "*": "this alias has no anchor above it",
    "&": "this anchor is defined twice",
    "!": "tags are not used here; put text in quotes",
    **dict.fromkeys("@`%", "no value begins with this character; put text in quotes"),
}

#: What cannot stand where no bracket is open.
_MISPLACED: Final = {
    ":": 'no ":" can stand here; does text need quotes, or the line another indentation?',
    **dict.fromkeys("]},", _NO_VALUE),
}

# A quoted text, which `close` is empty in when it does not end; a comment; a bracket. Quotes and
# comments begin where a value could.
_TOKENS: Final = re.compile(
    r"""(?:(?<=[\s\[{,])|\A)(?P<quote>")(?:[^"\\]|\\.)*(?P<close>"|\\?\Z)"""
    r"""|(?:(?<=[\s\[{,])|\A)'(?:[^']|'')*(?P<end>'|\Z)"""
    r"""|(?:(?<=\s)|\A)\#[^\n]*|(?P<bracket>[\[\]{}])""",
    re.DOTALL,
)
_BLOCK: Final = re.compile(r"(?:^|[\s:-])[|>][-+0-9]*\s*\Z")
_IN_ESCAPE: Final = re.compile(r"\\[xuU][0-9a-fA-F]*\Z")
_HAS_KEY: Final = re.compile(r":(\s|\Z)")


def sentence(text: str, at: int) -> str:
    """Return what to tell a person of a text that cannot be read on at this character."""
    before, here = text[:at], text[at : at + 1]
    line = before.rpartition("\n")[2]
    opened = _open(_without_blocks(before))
    if opened in _QUOTES:
        return _ESCAPE if here == "\\" or _IN_ESCAPE.search(before) else _NOT_CLOSED[opened]
    if here == "\t" or (not line.strip() and "\t" in line):
        return _TABS
    if here == "%" and not line:
        return _DIRECTIVE
    if here in _BEGINNINGS:
        return _BEGINNINGS[here]
    if opened:
        return _in_brackets(before, text[at : at + 2], opened)
    return _MISPLACED.get(here) or _at_line(before, text[at:])


def _without_blocks(text: str) -> str:
    """Return a text without the lines of its block scalars, in which anything may stand."""
    kept: list[str] = []
    deeper_than: int | None = None
    for line in text.split("\n"):
        indent = _indent(line)
        if deeper_than is not None and (not line.strip() or indent > deeper_than):
            continue
        deeper_than = indent if _BLOCK.search(line) else None
        kept.append(line)
    return "\n".join(kept)


def _open(before: str) -> str:
    """Return the quote or bracket that is open at the end of a text; empty when none is."""
    brackets: list[str] = []
    for token in _TOKENS.finditer(before):
        if token["quote"] and token["close"] != '"':
            return '"'
        if token["end"] == "":
            return "'"
        bracket = token["bracket"]
        if bracket and bracket in "[{":
            # Within plain text it opens nothing.
            if brackets or before[: token.start()][-1:] in ("", " ", "\n"):
                brackets.append(bracket)
        elif bracket and brackets:
            brackets.pop()
    return brackets[-1] if brackets else ""


def _in_brackets(before: str, here: str, opened: str) -> str:
    """here: the character and the one behind it."""
    if before.endswith("$") and here[:1] == "{":
        return _REFERENCE
    begins_value = before.rstrip()[-1:] in tuple("[{,")
    if begins_value and here[:1] in tuple(":,]}"):
        return _NO_VALUE
    if here[:1] == ":" and here[1:] in tuple(",[]{}"):
        return _QUOTE_COLON
    return _NOT_CLOSED[opened]


def _at_line(before: str, after: str) -> str:
    """Return what is wrong where no bracket is open: mostly how lines are indented."""
    *above, line = before.split("\n")
    if line.strip() and after.strip():
        return _OWN_LINE if after.startswith("- ") else GENERAL
    told = [each for each in (*above, line) if each.strip() and not each.lstrip().startswith("#")]
    if told and not _HAS_KEY.search(told[-1]) and not told[-1].lstrip().startswith("- "):
        return _COLON
    around = [each for each in told if _indent(each) <= len(line)]
    return _ITEM if around and around[-1].lstrip().startswith("- ") else _KEY


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))
