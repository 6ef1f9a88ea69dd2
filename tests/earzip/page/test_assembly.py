from __future__ import annotations

import base64
import hashlib
import html
import io
import re

import pytest

from earzip.page.assembly import data_script, frame_bytes, is_report, script_json, write_page


def page(summary: dict[str, object] | None = None, *, with_sound: bool = False) -> str:
    file = io.BytesIO()
    write_page(file, summary or {}, "", (), with_sound=with_sound)
    return file.getvalue().decode()


@pytest.mark.parametrize(
    "text", ["</script><script>alert(1)</script>", "<!--<script>", "]]>&amp;", "\ud800\u2028"]
)
def test_json_has_nothing_that_html_could_take_for_markup(text):
    shown = script_json({text: [text]})
    assert not set("<>&") & set(shown)
    assert shown.isascii()


def test_hostile_text_stays_in_its_element():
    written = page({"problems": "</script><img src=x onerror=alert(1)>"})
    assert "<img" not in written
    assert written.count("</script>") == page().count("</script>")


def test_marks_of_the_template_in_data_are_left_alone():
    assert "{{script}}" in page({"x": "{{script}}"})


@pytest.mark.smoke
@pytest.mark.parametrize("with_sound", [False, True])
def test_the_policy_allows_this_style_and_this_script_and_no_address(with_sound):
    written = page(with_sound=with_sound)
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', written)[1])
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "http" not in policy
    (style,) = re.findall(r"<style>(.*?)</style>", written, re.DOTALL)
    script = re.findall(r"<script>(.*?)</script>", written, re.DOTALL)[-1]
    for part in (style, script):
        digest = base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy


@pytest.mark.parametrize("with_sound", [False, True])
def test_the_page_asks_for_nothing_from_outside(with_sound):
    addresses = re.findall(r"(?:https?:)?//[^\s\"')]+", page(with_sound=with_sound))
    assert set(addresses) - {"http://www.w3.org/2000/svg"} <= {
        a for a in addresses if a.startswith("// ")
    }
    assert not re.findall(r"\b(?:src|href)=\"(?!data:)", page(with_sound=with_sound))


def test_a_page_knows_its_own_kind(tmp_path):
    path = tmp_path / "a.html"
    path.write_text(page(), encoding="utf-8")
    assert is_report(path)
    path.write_text('<!doctype html><meta name="generator" content="another">', encoding="utf-8")
    assert not is_report(path)


def test_the_frame_is_small_beside_the_limit():
    assert frame_bytes(with_sound=False) < 60_000
    assert frame_bytes(with_sound=True) < 90_000


def test_only_a_page_with_sound_has_the_blind_test():
    assert "class BlindTest" in page(with_sound=True)
    assert "class BlindTest" not in page()
    for with_sound in (False, True):
        assert frame_bytes(with_sound=with_sound) <= len(page(with_sound=with_sound).encode())


def test_an_element_of_data_is_not_run():
    assert data_script("x", {"a": 1}) == '<script type="application/json" id="x">{"a":1}</script>\n'
