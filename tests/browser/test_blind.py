"""The blind test of the page, by keyboard, and what sounds meanwhile."""

from __future__ import annotations

import hashlib
import math
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from tests.browser.conftest import earzip
from tests.browser.listening import (
    DOWN,
    ENTER,
    ESCAPE,
    HALF_DIP,
    RATE,
    RIGHT,
    SAME,
    TAB,
    WINDOW,
    Sounds,
    Test,
    looped,
    matching_gains,
    place_in,
    view_of_six_seconds,
)


@pytest.fixture(scope="module")
def two_qualities(library: Path) -> Path:
    """A page of one track at two qualities, beside its original."""
    for quality in ("low", "high"):
        source = library / "music" / "anfang.flac"
        assert earzip("compress", source, "-o", library / quality, "--quality", quality) == 0
    path = library / "two.html"
    folders = [library / "low", library / "high"]
    assert earzip("report", *folders, "--originals", library / "music", "--audio", "-o", path) == 0
    return path


def test_a_whole_test_by_keyboard_alone(browser, page, library, tmp_path):
    test = Test(browser, page)
    test.begin()
    sounds = Sounds(page, view_of_six_seconds(page))
    gains = matching_gains(sounds)
    sides = ("original", "restored")
    references = [looped(sounds.mono(*pair)) for pair in zip(sides, gains, strict=True)]
    xs, heard_of = [], {"a": [], "b": [], "y": []}
    for i in range(16):
        assert test.title() == f"Trial {i + 1} of 16"
        assert "right" not in test.text()  # nobody peeks
        others = {
            key: [place_in(test.hear(key), r)[1] for r in references]
            for key in ("xy", "xa", "xb")[i % 3]
        }
        x = int(np.argmin(others["x"]))
        assert others["x"][x] < SAME < 1e-3 < others["x"][1 - x]
        for key, other in others.items():
            if key != "x":
                heard_of[key].append((int(np.argmin(other)), x))
        xs.append("AB"[x])
        is_right = i not in (2, 5, 7, 11)
        browser.press(str(1 + (x if is_right else 1 - x)), ENTER)
    assert {side for side, _ in heard_of["a"]} == {0}
    assert {side for side, _ in heard_of["b"]} == {1}
    assert all(side == 1 - x for side, x in heard_of["y"])

    assert test.title() == "12 of 16 right"
    assert "12 or more of 16 right with probability p = 0.0384" in test.text()
    shown = browser.run(
        "return [...document.querySelectorAll('.blind tbody tr')].map(r => r.cells[1].textContent)"
    )
    assert shown == xs

    saved = test.saved(tmp_path)
    assert [trial["x"] for trial in saved["trials"]] == xs
    assert [trial["right"] for trial in saved["trials"]].count(True) == saved["n_right"] == 12
    assert saved["p_value"] == 2517 / 65_536
    assert (saved["trials_chosen"], saved["trials_done"], saved["practice"]) == (16, 16, False)
    assert (
        abs((datetime.now().astimezone() - datetime.fromisoformat(saved["made"])).total_seconds())
        < 60
    )
    source, archive = library / "music" / "anfang.flac", library / "archive" / "anfang.flac.earz"
    a, b = saved["a"], saved["b"]
    assert (a["sound"], a["file"]) == ("original", "anfang.flac")
    assert a["sha256"] == b["source_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert (b["sound"], b["file"], b["quality"]) == ("restored", "anfang.flac.earz", "medium")
    assert b["sha256"] == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert b["model"] == "mini-2"
    assert [a["gain_db"], b["gain_db"]] == pytest.approx(gains)
    browser.press(ESCAPE)
    browser.wait("return !document.querySelector('.blind').open")
    assert browser.run("return document.activeElement.textContent").startswith("Blind test")
    assert browser.complaints() == []


def test_quick_switches_do_not_click(browser, page, tmp_path):
    sounds = Sounds(page, view_of_six_seconds(page))
    opposite = tmp_path / "opposite.html"  # B is A upside down: nothing could click more
    lufs = sounds.view["sides"]["original"]["lufs"]
    opposite.write_text(sounds.changed(-sounds.stereo("original"), lufs), encoding="utf-8")
    test = Test(browser, opposite)
    test.draw(1)
    test.begin()
    a = looped(sounds.mono("original"))
    for _ in range(20):  # until it is seen in time
        test.hear("a", 0.8)
        browser.run("""
          const keys = [..."xbyaxyabxa"];
          const next = () => {
            const press = new KeyboardEvent("keydown", { key: keys.shift(), bubbles: true });
            document.activeElement.dispatchEvent(press);
            if (keys.length) setTimeout(next, 7);
            else window.settled = ear.context.currentTime + 0.3;
          };
          window.settled = Infinity;
          next();
        """)
        browser.wait("return ear.context.currentTime > window.settled")
        heard = test.window()
        at, other = place_in(heard[-4096:], a)
        assert other < SAME
        i = (at + 4096 - WINDOW + np.arange(WINDOW)) % len(a)
        loud = np.flatnonzero(np.abs(a[i]) > 0.05)
        level = heard[loud] / a[i][loud]
        if np.abs(level[:50] - 1).max() < 0.01 and level.min() < 0.5:
            break
    else:
        pytest.fail("this machine was never in time")
    assert np.abs(level).max() < 1.01
    # One voice goes down while another goes up: the level changes by two fades at most.
    assert (np.abs(np.diff(level)) <= 2.1 * np.diff(loud) / HALF_DIP + 0.01).all()


@pytest.mark.parametrize("bit", [0, 1])
def test_a_switch_keeps_the_place_to_the_sample_and_does_not_click(browser, page, bit):
    test = Test(browser, page)
    test.draw(bit)
    test.begin()
    sounds = Sounds(page, view_of_six_seconds(page))
    gains = matching_gains(sounds)
    a, b = (
        looped(sounds.mono(side, gain))
        for side, gain in zip(("original", "restored"), gains, strict=True)
    )
    x = b if bit else a
    whole = test.window_of_switch("a", "x")
    ends = 8192  # samples that are before, and after, the switch
    before, other = place_in(whole[:ends], a)
    assert other < SAME
    after, other = place_in(whole[-ends:], x)
    assert other < SAME
    assert (after - before) % len(a) == WINDOW - ends
    # Between them it goes down and up, also where A and X are one sound, and nothing else happens.
    i = (before + np.arange(WINDOW)) % len(a)
    changed = int(np.flatnonzero(np.abs(whole - a[i]) > 5e-5)[0])
    others = []
    for begin in range(changed - 200, changed + 1):
        n = np.arange(WINDOW) - begin
        down, up = np.clip(1 - n / HALF_DIP, 0, 1), np.clip(n / HALF_DIP - 1, 0, 1)
        expected = down * a[i] + up * x[i]
        others.append(np.square(whole - expected).sum() / np.square(whole).sum())
    assert min(others) < SAME


def test_the_four_voices_start_at_one_moment_and_place(browser, page):
    test = Test(browser, page)
    test.draw(1)
    test.begin()
    test.hear("y")
    when = browser.run("return started.map(({ when }) => when)")
    assert when == [when[0]] * 4
    same = browser.run(
        "return started.map(({ source }) => started.findIndex((s) => s.source.buffer === source.buffer))"
    )
    assert same == [0, 1, 1, 0]  # A, B, X = B, Y = A


def test_a_quieter_sound_is_matched_by_turning_the_other_down(browser, page, tmp_path):
    import pyloudnorm  # noqa: PLC0415  # of the extra eval

    sounds = Sounds(page, view_of_six_seconds(page))
    lufs = sounds.view["sides"]["restored"]["lufs"] - 20 * math.log10(2)
    changed = tmp_path / "quiet.html"
    changed.write_text(sounds.changed(0.5 * sounds.stereo("restored"), lufs), encoding="utf-8")

    test = Test(browser, changed)
    difference = sounds.view["sides"]["original"]["lufs"] - lufs
    assert difference > 5
    assert f"A is turned down by {difference:.2f} dB" in test.text()
    test.begin()
    test.hear("a")
    played = [
        np.array(
            [
                test.samples(
                    f"const s = started[{voice}].source.buffer.getChannelData({c}).slice();"
                )
                for c in (0, 1)
            ]
        )
        for voice in (0, 1)
    ]
    meter = pyloudnorm.Meter(RATE)
    levels = [meter.integrated_loudness(sound.T) for sound in played]
    assert levels[0] == pytest.approx(levels[1], abs=0.02)
    assert levels[1] == pytest.approx(lufs, abs=0.05)  # it was not turned up
    assert place_in(test.hear("b"), played[1].mean(0))[1] < SAME  # nothing else changes the level
    assert place_in(test.hear("a"), played[0].mean(0))[1] < SAME


def test_a_part_is_chosen_and_repeated(browser, page):
    test = Test(browser, page)
    test.begin()
    browser.press(RIGHT, "[")
    browser.press(RIGHT, "]")
    begin, end = (
        float(
            browser.run(f"return document.querySelectorAll('.edges output')[{k}].textContent")[:-2]
        )
        for k in (0, 1)
    )
    assert (begin, end) == (2, 4)
    heard = test.hear("a", 2.5)  # past the end of the part
    assert browser.run("return started.at(-1).source.buffer.length") == 2 * RATE
    sounds = Sounds(page, view_of_six_seconds(page))
    part = looped(sounds.mono("original", matching_gains(sounds)[0])[2 * RATE : 4 * RATE])
    assert place_in(heard, part)[1] < SAME
    shown = browser.run("return document.querySelector('.blind .clock').textContent")
    assert 2 <= float(shown.split(":")[1]) <= 4


def test_two_qualities_are_compared(browser, two_qualities, library, tmp_path):
    test = Test(browser, two_qualities)
    browser.press(TAB, DOWN, TAB, DOWN, TAB, TAB, TAB)
    assert browser.run("return document.activeElement.textContent") == "Begin"
    browser.press(ENTER)
    browser.wait("return /^Trial/.test(document.querySelector('.blind h2').textContent)")
    buttons = browser.run(
        "return [...document.querySelectorAll('[data-voice]')].map(b => b.textContent)"
    )
    labels = {f"A · restored, mini-2 {quality}" for quality in ("low", "high")}
    assert buttons[0] in labels
    assert "original" not in buttons[1]
    test.hear("x")
    browser.press("1", ENTER)
    assert test.title() == "Trial 2 of 16"
    test.click("End the test")
    saved = test.saved(tmp_path)
    assert {saved["a"]["quality"], saved["b"]["quality"]} == {"low", "high"}
    for each in (saved["a"], saved["b"]):
        archive = library / each["file"]
        assert each["sha256"] == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert (saved["trials_done"], saved["p_value"]) == (1, None)


def test_an_original_of_two_archives_is_embedded_once(two_qualities):
    assert two_qualities.read_text(encoding="utf-8").count('type="audio/flac;base64"') == 3


def test_practice_tells_at_once_and_gives_no_p_value(browser, page):
    test = Test(browser, page)
    test.draw(0)
    browser.press(TAB, TAB, TAB)
    browser.press("10")
    browser.press(TAB, " ", TAB, ENTER)
    browser.wait("return document.querySelector('.blind h2').textContent === 'Trial 1 of 10'")
    for i in range(10):
        browser.press("x", "1" if i else "2", ENTER)
        if i < 9:
            news = browser.find(".blind .message").text
            assert news == f"Trial {i + 1} was {'right' if i else 'wrong'}: X was A."
    assert test.title() == "9 of 10 right"
    assert "no p-value" in test.text()


def test_an_answer_needs_ears_and_a_choice(browser, page):
    test = Test(browser, page)
    test.begin()
    browser.press("a", "1", ENTER)
    assert (test.title(), "Listen to X or Y first" in test.text()) == ("Trial 1 of 16", True)
    browser.press("y", ENTER)
    assert test.title() == "Trial 2 of 16"
    browser.press("x", ENTER)
    assert (test.title(), "Say first which X is" in test.text()) == ("Trial 2 of 16", True)


def test_space_pauses_and_goes_on_and_keys_do_not_reach_the_player(browser, page):
    test = Test(browser, page)
    test.begin()
    test.hear("x")
    browser.press(" ")
    state = "return document.querySelector('.blind .clock').textContent"
    paused = browser.run(state)
    pressed = "return document.querySelectorAll('[data-voice][aria-pressed=true]').length"
    assert browser.run(pressed) == 0
    now = browser.run("return ear.context.currentTime")
    browser.wait(f"return ear.context.currentTime > {now} + 1")
    assert browser.run(state) == paused
    assert np.abs(test.window()[-WINDOW // 2 :]).max() == 0
    assert np.abs(test.hear(" ")).max() > 0.001
    assert browser.run(pressed) == 1
    assert browser.run("return [earzipPlayer.isPlaying, earzipPlayer.side]") == [False, "restored"]


def test_escape_asks_before_it_gives_a_test_up(browser, page):
    test = Test(browser, page)
    test.begin()
    browser.press("x", "1", ENTER, ESCAPE)
    assert "Escape once more" in test.text()
    browser.press(ESCAPE)
    browser.wait("return !document.querySelector('.blind').open")
    browser.wait("return ear.context.state === 'closed'")


def test_closing_the_detail_takes_the_test_with_it(browser, page):
    test = Test(browser, page)
    test.begin()
    test.hear("x")
    browser.run("document.querySelector('.opened .open').click()")
    browser.wait("return ear.context.state === 'closed'")
    assert browser.run("return document.querySelectorAll('.blind').length") == 0
    assert browser.complaints() == []


def test_everything_in_it_has_a_name_and_a_visible_focus(browser, page):
    test = Test(browser, page)
    test.begin()
    nodes = browser.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    wanted = {"button", "slider", "combobox", "checkbox", "dialog", "group"}
    shown = [n for n in nodes if not n["ignored"] and n["role"]["value"] in wanted]
    names = [n.get("name", {}).get("value", "") for n in shown]
    assert all(map(str.strip, names))
    for name in ("Trial 1 of 16", "X", "Y", "X is A", "X is B", "Play", "Next trial"):
        assert name in names
    browser.press(TAB)
    style = "getComputedStyle(document.activeElement)"
    outline = (
        f"const {{ outlineStyle, outlineWidth }} = {style}; return [outlineStyle, outlineWidth]"
    )
    assert browser.run(outline) == ["solid", "2px"]
    focused = "return document.activeElement.dataset.voice"
    assert browser.run(focused) == "A"
    browser.press(TAB, TAB, " ")
    assert browser.find("[data-voice=X]").get_attribute("aria-pressed") == "true"


@pytest.mark.parametrize("width", [360, 1280])
def test_it_fits_into_the_window(browser, page, width):
    test = Test(browser, page)
    size = {"width": width, "height": 700, "deviceScaleFactor": 1, "mobile": False}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    fits = """
      const dialogue = document.querySelector(".blind");
      const { right } = dialogue.getBoundingClientRect();
      return dialogue.scrollWidth <= dialogue.clientWidth && right <= innerWidth;
    """
    assert browser.run(fits)
    test.begin()
    assert browser.run(fits)
    browser.press("x", "1", ENTER)
    test.click("End the test")
    assert browser.run(fits)


def test_the_p_value_is_that_of_the_binomial_distribution(browser):
    source = (Path(__file__).parents[2] / "earzip/page/web/trials.js").read_text(encoding="utf-8")
    for n in (10, 16, 20):
        found = browser.run(
            f"{source}\nreturn [...Array({n + 1}).keys()].map((k) => chanceByGuessing(k, {n}))"
        )
        exact = [sum(math.comb(n, i) for i in range(k, n + 1)) / 2**n for k in range(n + 1)]
        assert found == exact
    known = {(12, 16): 0.0384, (9, 10): 0.0107, (8, 10): 0.0547, (15, 20): 0.0207, (0, 16): 1.0}
    for (k, n), p in known.items():
        found = browser.run(f"{source}\nreturn chanceByGuessing({k}, {n})")
        assert round(found, 4) == p


def test_without_a_second_sound_the_page_says_what_gives_one(browser, library, tmp_path):
    alone = tmp_path / "alone.html"
    assert earzip("report", library / "archive" / "Zug.flac.earz", "--audio", "-o", alone) == 0
    browser.open(alone)
    assert "A blind test needs a second sound" in browser.find(".pictures").text
    assert browser.driver.find_elements("css selector", ".offer") == []
    assert browser.complaints() == []
