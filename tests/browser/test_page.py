"""The page as people use it: table, themes, widths, names, and nothing from outside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from earzip.page.builder import PageBuilder
from earzip.page.rows import TrackEntry
from tests.browser.conftest import HOSTILE, earzip
from tests.earzip.page.records import facts

AS_FOUND = ["Zug", "Anfang", HOSTILE, "silence.wav"]


def column(browser, key: str) -> list[str]:
    cells = (
        "[...document.querySelectorAll('tr.line')].map(tr => tr.cells[arguments[0]].textContent)"
    )
    heads: list[str] = browser.run(
        "return [...document.querySelectorAll('#head th')].map(th => th.textContent)"
    )
    return browser.run(f"return {cells}", heads.index(key))


def test_every_track_is_in_the_table_and_the_damaged_archive_in_the_list(browser):
    assert sorted(browser.titles()) == sorted(AS_FOUND)
    problems = browser.find("#problems").text
    assert "1 archive with problems" in problems
    assert "cut.flac.earz" in problems
    assert "cut short" in problems


def test_nothing_is_complained_of_and_nothing_requested(browser):
    for title in browser.titles():
        browser.open_track(title)
    browser.find("#theme").click()
    assert browser.complaints() == []
    events = [
        json.loads(entry["message"])["message"] for entry in browser.driver.get_log("performance")
    ]
    urls = [
        e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"
    ]
    assert [url for url in urls if not url.startswith(("data:", "blob:"))] == [
        browser.driver.current_url
    ]


def test_text_of_tags_is_never_markup(browser):
    browser.open_track(HOSTILE)
    assert browser.driver.title == "earzip report"
    assert browser.run("return document.querySelectorAll('img[src=x], td b, dd b').length") == 0
    tags = browser.find(".facts").text
    assert tags.count("onerror") == 3
    assert browser.complaints() == []


@pytest.mark.parametrize("by_keyboard", [False, True])
def test_a_header_sorts_both_ways(browser, by_keyboard):
    button = browser.find("#head th.number button")
    for direction, last_first in (("ascending", False), ("descending", True)):
        if by_keyboard:
            browser.run("arguments[0].focus()", button)
            browser.press(" " if last_first else "\ue007")
        else:
            button.click()
        head = browser.find("#head th[aria-sort=ascending], #head th[aria-sort=descending]")
        assert (head.text[:4], head.get_attribute("aria-sort")) == ("Time", direction)
        times = column(browser, "Time")
        assert times == sorted(times, reverse=last_first)


def test_titles_are_sorted_as_people_do_and_empty_values_come_last(browser):
    browser.run("document.querySelector('#head th.title button').click()")
    assert browser.titles()[-3:] == ["Anfang", "silence.wav", "Zug"]
    for _ in range(2):
        browser.run(
            "[...document.querySelectorAll('#head button')].find(b => b.textContent === 'Artist').click()"
        )
        assert browser.titles()[-1] == "silence.wav"


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("clara", ["Anfang"]),
        ("etudes bela", ["Zug"]),
        ("pcm", AS_FOUND),
        ("linien zzz", []),
        ("WAV", ["silence.wav"]),
    ],
)
def test_the_filter_finds_words_of_all_tags_and_facts(browser, words, found):
    browser.find("#filter").send_keys(words)
    shown = "4 tracks" if len(found) == 4 else f"{len(found)} of 4 tracks"
    browser.wait(f"return document.getElementById('count').textContent === '{shown}'")
    if found:
        assert sorted(browser.titles()) == sorted(found)
    else:
        assert "No track" in browser.find("#body").text


def test_a_row_opens_and_closes_the_detail_by_keyboard(browser):
    browser.run("document.querySelector('.open').focus()")
    for expanded in (True, False):
        browser.press("\ue007")
        assert browser.find(".open").get_attribute("aria-expanded") == str(expanded).lower()
        assert len(browser.driver.find_elements("css selector", ".detail")) == expanded


def test_a_detail_has_pictures_measures_tags_and_facts(browser):
    browser.open_track("Anfang")
    captions = "[...document.querySelectorAll('.detail figcaption > span:first-child')]"
    names = browser.run(f"return {captions}.map(span => span.textContent)")
    assert names == ["Original", "Restored", "Restored less original", "Waveform"]
    facts = browser.find(".facts").text
    for part in ("SI-SDR", "ICPC", "artist\nClara", "medium", "FLAC", "SHA-256", "44,100 Hz"):
        assert part in facts
    painted = browser.run("""
      return [...document.querySelectorAll(".detail .plot canvas")].map((canvas) => {
        const image = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return new Set(image.data).size;
      });
    """)
    assert min(painted) > 20


def test_pointing_at_a_picture_reads_its_levels(browser):
    browser.open_track("Anfang")
    browser.run("""
      const canvas = document.querySelector(".detail .plot canvas");
      const box = canvas.getBoundingClientRect();
      const place = { clientX: box.left + box.width / 2, clientY: box.top + 0.9 * box.height };
      canvas.dispatchEvent(new PointerEvent("pointermove", { bubbles: true, ...place }));
    """)
    text = browser.find(".readout").text
    for part in ("0:03.0", "kHz", "original −", "restored −", "dB"):
        assert part in text


@pytest.mark.parametrize("opened", [None, "Anfang", HOSTILE])
@pytest.mark.parametrize("width", [360, 768, 1280, 1920])
def test_nothing_is_wider_than_the_window(browser, page, width, opened):
    browser.open(page, width=width)
    if opened:
        browser.open_track(opened)
    assert browser.run("return document.documentElement.scrollWidth") <= width
    frame = "document.querySelector('.table-frame')"
    assert browser.run(f"return {frame}.scrollWidth - {frame}.clientWidth") <= 0
    too_wide = browser.run("""
      return [...document.querySelectorAll("main *")]
        .filter((each) => each.getBoundingClientRect().right > innerWidth + 1)
        .filter((each) => !each.closest(".unseen"))
        .map((each) => each.outerHTML.slice(0, 120));
    """)
    assert width != 360 or too_wide == []


def test_a_narrow_window_still_sorts_by_every_column(browser, page):
    browser.open(page, width=360)
    browser.run("""
      const sort = document.getElementById("sort");
      sort.value = "artist descending";
      sort.dispatchEvent(new Event("change"));
    """)
    assert browser.titles()[:2] == ["Anfang", "Zug"]
    assert browser.find("#sort").is_displayed()


def test_themes_differ_follow_the_system_and_can_be_switched(browser, page):
    def colours() -> list[object]:
        return browser.run("""
          const canvas = document.querySelectorAll(".detail .plot canvas")[2];
          const { data } = canvas.getContext("2d").getImageData(9, canvas.height / 2, 1, 1);
          const { backgroundColor, color } = getComputedStyle(document.body);
          return [backgroundColor, color, [...data]];
        """)

    seen = []
    for dark in (False, True):
        browser.open(page, dark=dark)
        browser.open_track("Anfang")
        seen.append(colours())
    assert all(light != dark for light, dark in zip(*seen, strict=True))
    browser.find("#theme").click()
    assert colours() == seen[0]
    assert browser.find("#theme").get_attribute("aria-label") == "Dark theme"


def test_every_control_and_picture_has_a_name(browser):
    browser.open_track("Anfang")
    root = browser.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    wanted = {
        "button",
        "searchbox",
        "textbox",
        "combobox",
        "checkbox",
        "slider",
        "image",
        "img",
        "region",
    }
    nodes = [n for n in root if not n["ignored"] and n["role"]["value"].lower() in wanted]
    roles = {n["role"]["value"].lower() for n in nodes}
    assert {"button", "searchbox", "slider"} <= roles
    assert [n for n in nodes if not n.get("name", {}).get("value", "").strip()] == []
    assert len([n for n in nodes if n["role"]["value"].lower() in ("image", "img")]) >= 6


def test_a_report_on_one_archive_shows_its_detail_at_once(browser, library):
    alone = library / "alone.html"
    assert earzip("report", library / "archive" / "Zug.flac.earz", "-o", alone) == 0
    browser.open(alone)
    assert browser.driver.find_elements("css selector", ".player") == []
    pictures = browser.find(".pictures").text
    assert "--audio" in pictures
    assert "Original" not in pictures
    assert "--originals" in browser.find(".facts").text
    assert browser.complaints() == []


def undecoded_page(path: Path, n: int, problems=(), **changes) -> Path:
    """Write a page of ``n`` tracks without pictures."""
    entries = [TrackEntry(f"{i}.earz", facts(i, **changes)) for i in range(n)]
    with path.open("wb") as file:
        PageBuilder(entries, None, problems).write(file, "today")
    return path


def page_of_versions(path: Path, versions: list[dict[str, str]]) -> Path:
    """Write a page of one song in these versions, and of two songs of other titles."""
    same = facts(0).tags
    tracks = [facts(i, tags=same, **version) for i, version in enumerate(versions)]
    tracks += [facts(100, quality="low"), facts(101)]
    entries = [TrackEntry(f"{i}.earz", track) for i, track in enumerate(tracks)]
    with path.open("wb") as file:
        PageBuilder(entries, None).write(file, "today")
    return path


@pytest.mark.parametrize("width", [360, 1200, 1280, 1920])
def test_rows_of_one_title_show_what_tells_them_apart(browser, tmp_path, width):
    versions = [{"quality": quality} for quality in ("high", "low", "medium")]
    browser.open(page_of_versions(tmp_path / "r.html", versions), width=width)
    shown = browser.driver.find_elements("css selector", "tr.line td.title .version")
    assert [each.text for each in shown if each.is_displayed()] == ["high", "low", "medium"]
    headings = browser.find(".totals").text
    assert "mini low, mini medium, mini high" in headings
    assert "tracks: 2, 2, 1" in headings
    assert browser.run("return document.documentElement.scrollWidth") <= width


def test_versions_of_two_models_name_the_model_too_and_copies_nothing(browser, tmp_path):
    versions = [{"model": "mini"}, {"model": "mini-2"}]
    browser.open(page_of_versions(tmp_path / "r.html", versions))
    shown = browser.driver.find_elements("css selector", ".version")
    assert [each.text for each in shown] == ["mini medium", "mini-2 medium"]
    browser.open(page_of_versions(tmp_path / "r.html", [{}, {}]))
    assert browser.driver.find_elements("css selector", ".version") == []


def test_of_many_problems_100_are_listed_and_the_others_counted(browser, tmp_path):
    problems = [{"path": f"{i}.earz", "message": "is damaged"} for i in range(150)]
    browser.open(undecoded_page(tmp_path / "r.html", 1, problems))
    listed = browser.find("#problems").text
    assert "150 archives with problems" in listed
    assert listed.count("is damaged") == 100
    assert "and 50 more" in listed


def test_turning_pages_keeps_the_focus_on_the_button(browser, tmp_path):
    browser.open(undecoded_page(tmp_path / "r.html", 250))
    focused = "return document.activeElement.textContent"
    next_page = (
        "[...document.querySelectorAll('#pager button')].find(b => b.textContent === 'Next')"
    )
    browser.run(f"return {next_page}").click()
    assert browser.run(focused) == "Next"
    browser.press("\ue007")
    assert "201 to 250 of 250" in browser.find("#pager").text
    assert browser.run(focused) == "First"


def test_a_track_of_very_many_tags_opens(browser, tmp_path):
    tags = {f"t{i}": ("x",) for i in range(70_000)}
    browser.open(undecoded_page(tmp_path / "r.html", 1, tags=tags))
    assert browser.run("return document.querySelectorAll('.facts dd').length") > 70_000


def test_a_table_that_cannot_be_read_is_told(browser, tmp_path):
    page = undecoded_page(tmp_path / "r.html", 1)
    page.write_text(page.read_text().replace('id="rows">', 'id="rows">AAAA'))
    browser.driver.get(page.as_uri())
    browser.wait("return document.querySelector('#overview [role=alert]') !== null")
    assert "table cannot be shown" in browser.find("#overview").text
