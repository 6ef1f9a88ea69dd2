"""One HTML file of its parts: frame, style, script and data, under a policy that lets nothing else in."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any, BinaryIO

from earzip.page.pictures import difference_colours, level_colours
from earzip.page.spectrum import DIFFERENCE_DB, FLOOR_DB, TOP_DB, TOP_HZ

_SCRIPTS = (
    "dom",
    "format",
    "data",
    "overview",
    "columns",
    "table",
    "picture",
    "player",
    "detail",
    "main",
)
"""Files of the script, in order: one scope, and functions only of those before are called at once."""
_SCRIPTS_FOR_SOUND = ("sounds", "stage", "trials", "blind")
"""The blind test: before the others, and only in a page that has sound."""
_GENERATOR = "earzip "
_MARK = re.compile(rb'<meta name="generator" content="earzip [^"]*">')
_MARK_WITHIN_BYTES = 2048


def is_report(path: Path) -> bool:
    """Return whether the file at ``path`` is a page that this program wrote. Raises OSError."""
    with path.open("rb") as file:
        return _MARK.search(file.read(_MARK_WITHIN_BYTES)) is not None


def frame_bytes(*, with_sound: bool) -> int:
    """Return the size of a page without any track; one with sound has the blind test too."""
    return sum(map(len, _frame(with_sound).values()))


def write_page(
    file: BinaryIO,
    summary: Mapping[str, Any],
    rows: str,
    data_elements: Sequence[str],
    *,
    with_sound: bool,
) -> None:
    """Write the page: ``summary`` as JSON, the packed ``rows``, and elements of data.

    ``with_sound``: some of the elements are excerpts, so the page gets a blind test.
    """
    scales = {
        "levels": {"low": FLOOR_DB, "high": TOP_DB, "colours": level_colours()},
        "difference": {
            "low": -DIFFERENCE_DB,
            "high": DIFFERENCE_DB,
            "light": difference_colours(dark=False),
            "dark": difference_colours(dark=True),
        },
        "top_hz": TOP_HZ,
    }
    frame = _frame(with_sound)
    file.write(frame["before"])
    file.write(data_script("summary", {**summary, "scales": scales}).encode())
    file.write(f'<script type="text/plain" id="rows">{rows}</script>\n'.encode())
    for element in data_elements:
        file.write(element.encode())
    file.write(frame["after"])


@cache
def _frame(with_sound: bool) -> dict[str, bytes]:
    """Return the page before and after the data."""
    style = _read("page.css") + (_read("blind.css") if with_sound else "")
    scripts = (*_SCRIPTS[:-1], *_SCRIPTS_FOR_SOUND, _SCRIPTS[-1]) if with_sound else _SCRIPTS
    parts = "\n".join(_read(f"{name}.js") for name in scripts)
    script = f'"use strict";\n(() => {{\n{parts}\n}})();\n'
    values = {
        "policy": _policy(style, script),
        "generator": html.escape(_GENERATOR + version("earzip")),
        "style": style,
        "script": script,
    }
    before, after = _read("page.html").split("{{data}}")
    return {"before": _filled(before, values), "after": _filled(after, values)}


def _policy(style: str, script: str) -> str:
    """Return a content security policy: this style and this script run, nothing is fetched."""
    return "; ".join(
        [
            "default-src 'none'",
            "img-src data: blob:",
            "media-src data: blob:",
            f"style-src 'sha256-{_sha256(style)}'",
            f"script-src 'sha256-{_sha256(script)}'",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _filled(template: str, values: Mapping[str, str]) -> bytes:
    # In one pass: values are not searched again.
    return re.sub(r"\{\{(\w+)\}\}", lambda found: values[found[1]], template).encode()


def _read(name: str) -> str:
    return (files("earzip.page") / "web" / name).read_text(encoding="utf-8")


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


def excerpt_id(flac: bytes) -> str:
    """Return the name of the element for a FLAC file: the same for the same bytes."""
    return f"audio-{hashlib.sha256(flac).hexdigest()[:16]}"


def packed_audio(element_id: str, flac: bytes) -> str:
    """Return a script element that holds a FLAC file in base64; browsers do not run it."""
    return f'<script type="audio/flac;base64" id="{element_id}">{base64_text(flac)}</script>\n'
