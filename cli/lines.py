"""Messages within the width of a terminal: broken between words, but never in a path."""

from __future__ import annotations

import os
import sys
import textwrap
import unicodedata

_INDENT = "  "


def fitted(head: str, text: str) -> str:
    """Return ``head`` and ``text``; on a terminal in lines of its width, the further ones indented.

    ``head`` may have a path, which must be whole to be copied, so it is not broken. Where standard
    error is not a terminal all is one line, for programs that look for it.
    """
    width = terminal_width()
    if not width or len(head) + len(text) <= width:
        return head + text
    first = "" if len(head) > width // 2 else head
    lines = textwrap.wrap(
        text,
        width,
        initial_indent=first or _INDENT,
        subsequent_indent=_INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines if first or not head else [head.rstrip(), *lines])


def terminal_width() -> int:
    """Return the width of the terminal that standard error is, 0 if it is none."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns if sys.stderr.isatty() else 0
    except (AttributeError, OSError, ValueError):  # closed, or no file
        return 0


def in_columns(text: str, width: int, *, cut: bool) -> str:
    """Return ``text`` in so many columns of a terminal; a longer one as it is, unless ``cut``."""
    text = " ".join(text.split())
    taken: list[str] = []
    n_columns = 0
    for character in text:
        n = _columns_of(character)
        if cut and n_columns + n > width:
            while taken and n_columns + 1 > width:
                n_columns -= _columns_of(taken.pop())
            return "".join(taken) + "…" + " " * (width - n_columns - 1)
        taken.append(character)
        n_columns += n
    return text + " " * (width - n_columns)


def _columns_of(character: str) -> int:
    """Return how many columns of a terminal a character takes."""
    if character.isascii():
        return 1
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
