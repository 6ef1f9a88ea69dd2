"""Data as text that stands in an HTML file and can be nothing but data there."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any


def base64_text(data: bytes) -> str:
    """Return ``data`` in base64, which has no character that HTML or JSON would need escaped."""
    return base64.b64encode(data).decode()


def script_json(value: object) -> str:
    """Return ``value`` as JSON for a script element.

    No ``<`` is left, so nothing in it can end the element or open a comment; nor lone surrogates,
    which UTF-8 cannot hold.
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def data_script(element_id: str, value: Mapping[str, Any]) -> str:
    """Return a script element that holds ``value`` as JSON; browsers do not run it."""
    return f'<script type="application/json" id="{element_id}">{script_json(value)}</script>\n'


def packed_audio(element_id: str, flac: bytes) -> str:
    """Return a script element that holds a FLAC file in base64; browsers do not run it."""
    return f'<script type="audio/flac;base64" id="{element_id}">{base64_text(flac)}</script>\n'
