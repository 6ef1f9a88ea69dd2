"""A real page of real archives in headless Chromium; skipped where it is not installed."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from mutagen.flac import FLAC, Picture

from tests.conftest import tones

_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_DRIVER = shutil.which("chromedriver")
HOSTILE = "</script><img src=x onerror=\"document.title='taken'\"><b>'&amp;"


def earzip(*arguments: object) -> int:
    """Run the command in a process of its own; return its exit code."""
    command = [sys.executable, "-m", "earzip", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=False).returncode


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of music/ and of archive/, made of it by `mini`, with one archive cut short."""
    root = tmp_path_factory.mktemp("library")
    _song(
        root / "music" / "Zug.flac", 3, title="Zug", artist="Béla", album="Linien", genre="Études"
    )
    _song(root / "music" / "anfang.flac", 6, title="Anfang", artist="Clara", album="Linien")
    _song(root / "music" / "hostile.flac", 2, title=HOSTILE, artist=HOSTILE, album=HOSTILE)
    _song(root / "music" / "cut.flac", 2, title="Cut")
    soundfile.write(root / "music" / "silence.wav", np.zeros((44_100, 1)), 44_100)
    assert earzip("compress", root / "music", "-o", root / "archive") == 0
    cut = root / "archive" / "cut.flac.earz"
    cut.write_bytes(cut.read_bytes()[:-100])
    return root


def _song(path: Path, seconds: float, **tags: str) -> None:
    from PIL import Image  # noqa: PLC0415  # of the extra report

    path.parent.mkdir(exist_ok=True)
    soundfile.write(path, tones(round(44_100 * seconds), seed=len(path.name)).T, 44_100)
    file = FLAC(path)
    file.update(tags)
    image = io.BytesIO()
    Image.new("RGB", (64, 64), "teal").save(image, "PNG")
    picture = Picture()
    picture.type, picture.mime, picture.data = 3, "image/png", image.getvalue()
    file.add_picture(picture)
    file.save()


@pytest.fixture(scope="session")
def page(library: Path) -> Path:
    """The page of the library, with originals and sound."""
    path = library / "report.html"
    options = ["--originals", library / "music", "--audio", "-o", path]
    assert earzip("report", library / "archive", *options) == 3  # for the one that was cut
    return path


@dataclass
class Browser:
    """A page in Chromium, and what the tests ask of it."""

    driver: Any

    def open(self, page: Path, *, width: int = 1280, dark: bool = False) -> None:
        """Load the page anew; wait for its table."""
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [theme]})
        self.driver.get("about:blank")
        self.driver.get_log("performance")
        self.driver.get_log("browser")
        self.driver.get(page.as_uri())
        self.wait("return document.querySelector('tr.line') !== null")

    def run(self, script: str, *arguments: object) -> Any:
        """Return what the script returns."""
        return self.driver.execute_script(script, *arguments)

    def wait(self, script: str, seconds: float = 10) -> Any:
        """Return what the script returns, once that is true."""
        from selenium.webdriver.support.wait import WebDriverWait  # noqa: PLC0415  # of the extra dev

        return WebDriverWait(self.driver, seconds, poll_frequency=0.02).until(
            lambda _: self.run(script)
        )

    def press(self, *keys: str) -> None:
        """Press keys one after the other, on what has the focus."""
        from selenium.webdriver import ActionChains  # noqa: PLC0415  # of the extra dev

        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    def find(self, selector: str) -> Any:
        """Return the first element that the CSS selector names."""
        return self.driver.find_element("css selector", selector)

    def titles(self) -> list[str]:
        """Return the titles in the table, from top to bottom."""
        titles: list[str] = self.run(
            "return [...document.querySelectorAll('.open')].map(b => b.textContent)"
        )
        return titles

    def open_track(self, title: str) -> None:
        """Open a track's detail; wait for its pictures."""
        self.run(
            "[...document.querySelectorAll('.open')].find(b => b.textContent === arguments[0]).click()",
            title,
        )
        self.wait(
            "return [...document.querySelectorAll('.detail .plot canvas')].every(c => c.width !== 300)"
        )

    def complaints(self) -> list[str]:
        """Return the console's warnings and errors since the page was opened."""
        return [entry["message"] for entry in self.driver.get_log("browser")]


@pytest.fixture(scope="session")
def _chromium() -> Iterator[Browser]:
    if _CHROMIUM is None or _DRIVER is None:
        pytest.skip("chromium and chromedriver are not installed")
    from selenium import webdriver  # noqa: PLC0415  # of the extra dev

    options = webdriver.ChromeOptions()
    options.binary_location = _CHROMIUM
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--autoplay-policy=no-user-gesture-required",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(_DRIVER))
    try:
        yield Browser(driver)
    finally:
        driver.quit()


@pytest.fixture
def browser(_chromium: Browser, page: Path) -> Browser:
    """The page in a window of 1280 pixels."""
    _chromium.open(page)
    return _chromium
