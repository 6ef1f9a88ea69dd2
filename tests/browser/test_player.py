"""The player: original and restored in step, switched without losing the place."""

from __future__ import annotations

import time

import pytest

MOST_S = 0.05  # that a switch may move the place


@pytest.fixture
def player(browser):
    """The browser, with a track of six seconds open."""
    browser.open_track("Anfang")
    return browser


STATE = """
  const { tracks, context, side, isPlaying } = earzipPlayer;
  const gains = Object.fromEntries(tracks.map(({ name, gain }) => [name, gain.gain.value]));
  return { position: earzipPlayer.position(), clock: context.currentTime, side, isPlaying, gains };
"""


def start(browser):
    browser.press(" ")
    browser.wait("return earzipPlayer.isPlaying && earzipPlayer.position() > 0.2")


def test_switching_keeps_the_place_and_changes_what_is_heard(player):
    start(player)
    sources = "earzipPlayer.tracks.map(t => t.source)"
    player.run(f"window.before = {sources}")
    for expected in ("original", "restored", "original"):
        before = player.run(STATE)
        player.press("x")
        player.wait(f"return earzipPlayer.side === '{expected}'", 0.5)
        time.sleep(0.1)
        after = player.run(STATE)
        moved = (after["position"] - before["position"]) - (after["clock"] - before["clock"])
        assert abs(moved) < MOST_S
        assert after["gains"][expected] == pytest.approx(1, abs=0.01)
        assert sum(after["gains"].values()) == pytest.approx(1, abs=0.01)
    # Nothing was started anew: the same sources run since the beginning.
    assert player.run(f"return {sources}.every((s, i) => s === window.before[i])")


def test_both_sides_are_as_long_and_begin_at_one_moment(player):
    player.run("""
      window.started = [];
      const { start } = AudioBufferSourceNode.prototype;
      AudioBufferSourceNode.prototype.start = function (...when) {
        window.started.push(when);
        start.apply(this, when);
      };
    """)
    start(player)
    first, second = player.run("return window.started")
    assert first == second
    lengths = player.run(
        "return earzipPlayer.tracks.map(t => [t.buffer.length, t.buffer.sampleRate])"
    )
    assert lengths == [[6 * 44_100, 44_100]] * 2


def test_what_is_heard_is_the_side_that_is_chosen(player):
    start(player)
    player.run("""
      for (const track of earzipPlayer.tracks) {
        track.analyser = earzipPlayer.context.createAnalyser();
        track.gain.connect(track.analyser);
      }
    """)
    levels = """
      return Object.fromEntries(earzipPlayer.tracks.map(({ name, analyser }) => {
        const samples = new Float32Array(2048);
        analyser.getFloatTimeDomainData(samples);
        return [name, Math.max(...samples.map(Math.abs))];
      }));
    """
    for heard, silent in (("original", "restored"), ("restored", "original")):
        player.press("x")
        time.sleep(0.2)
        level = player.run(levels)
        assert level[heard] > 0.001
        assert level[silent] == 0


def test_keys_play_pause_and_skip(player):
    start(player)
    player.press(" ")
    player.wait("return !earzipPlayer.isPlaying")
    paused = player.run("return earzipPlayer.position()")
    time.sleep(0.2)
    assert player.run("return earzipPlayer.position()") == paused
    player.press("\ue014")
    assert player.run("return earzipPlayer.position()") == pytest.approx(paused + 2, abs=0.01)
    player.press("\ue012", "\ue012")
    assert player.run("return earzipPlayer.position()") == 0
    hints = player.find(".hints").text
    for key in ("Space", "← →", "X"):
        assert key in hints


@pytest.mark.parametrize("by_keyboard", [False, True])
def test_space_plays_right_after_a_row_was_opened(browser, by_keyboard):
    button = browser.find("tr.line .open")
    if by_keyboard:
        browser.run("arguments[0].focus()", button)
        browser.press("\ue007")
    else:
        button.click()
    start(browser)
    browser.press(" ")
    browser.wait("return !earzipPlayer.isPlaying")
    assert button.get_attribute("aria-expanded") == "true"


def test_before_it_is_decoded_a_short_excerpt_ends_where_it_does(player):
    assert player.run("return earzipPlayer.tracks") is None
    player.press(*["\ue014"] * 5)
    assert player.run("return earzipPlayer.position()") == 6
    assert player.find(".player input").get_attribute("max") == "6"


def test_play_and_pause_while_it_is_decoded_is_a_pause(player):
    player.run("earzipPlayer.toggle(); earzipPlayer.toggle()")
    player.wait("return earzipPlayer.tracks !== null")
    time.sleep(0.2)
    assert not player.run("return earzipPlayer.isPlaying")
    start(player)


def test_a_seek_beyond_the_excerpt_stops_at_its_end(player):
    start(player)
    player.run("earzipPlayer.seek(100)")
    time.sleep(0.2)
    state = player.run("return [earzipPlayer.isPlaying, earzipPlayer.position()]")
    assert state == [False, 6]


def test_closing_while_it_is_decoded_is_quiet(player):
    player.run("""
      window.last = earzipPlayer;
      earzipPlayer.toggle();
      document.querySelector('.opened .open').click();
    """)
    time.sleep(0.5)
    assert player.run("return [window.last.isPlaying, window.last.tracks]") == [False, None]
    assert player.complaints() == []


def test_skipping_goes_on_playing(player):
    start(player)
    player.press("\ue014")
    player.wait(
        "return earzipPlayer.isPlaying && earzipPlayer.position() > 2.2 && earzipPlayer.position() < 5"
    )


def test_keys_in_the_filter_are_text(player):
    player.find("#filter").send_keys("x ")
    assert player.run("return [earzipPlayer.side, earzipPlayer.isPlaying]") == ["restored", False]
    assert player.find("#filter").get_attribute("value") == "x "


def test_buttons_and_slider_do_what_the_keys_do(player):
    player.find(".play").click()
    player.wait("return earzipPlayer.isPlaying")
    assert player.find(".play").text == "Pause"
    player.find("[data-side=original]").click()
    buttons = "[...document.querySelectorAll('.sides button')]"
    pressed = player.run(f"return {buttons}.map(each => each.getAttribute('aria-pressed'))")
    assert pressed == ["true", "false"]
    player.run("""
      const slider = document.querySelector(".player input");
      slider.value = 3;
      slider.dispatchEvent(new Event("input"));
    """)
    player.wait("return earzipPlayer.isPlaying && earzipPlayer.position() >= 3")


def test_the_end_stops_and_play_begins_anew(player):
    start(player)
    player.run("earzipPlayer.seek(5.7)")
    player.wait("return !earzipPlayer.isPlaying", 5)
    start(player)
    assert player.run("return earzipPlayer.position()") < 3


def test_closing_the_detail_ends_the_sound(player):
    start(player)
    player.run("window.last = earzipPlayer; document.querySelector('.opened .open').click()")
    player.wait("return window.last.context.state === 'closed'")
    assert player.run("return earzipPlayer") is None
    assert player.complaints() == []
