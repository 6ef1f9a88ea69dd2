"""Messages within the width of a terminal: broken between words, but never in a path."""

from __future__ import annotations

import os
import sys
import textwrap

_INDENT = "  "


def fitted(head: str, text: str) -> str:
    """Return ``head`` and ``text``; on a terminal in lines of its width, the further ones indented.

    ``head`` may have a path, which must be whole to be copied, so it is not broken. Where standard
    error is not a terminal all is one line, for programs that look for it.
    """
    width = _columns()
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


def _columns() -> int:
    """Return the width of the terminal that standard error is, 0 if it is none."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns if sys.stderr.isatty() else 0
    except (AttributeError, OSError, ValueError):  # closed, or no file
        return 0
