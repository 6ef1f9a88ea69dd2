"""A blind test in the browser, and what sounds there: read where it leaves for the loudspeaker."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

RATE = 44_100
TAB, ENTER, ESCAPE, RIGHT, DOWN = "\ue004", "\ue007", "\ue00c", "\ue014", "\ue015"
WINDOW = 32_768  # samples: the most that an analyser keeps
HALF_DIP = 441  # samples: down, and as many up
EDGE = 220.5  # samples: of a loop
SAME = 1e-6  # of the power

EAR = f"""
  const {{ connect }} = AudioNode.prototype;
  AudioNode.prototype.connect = function (target, ...rest) {{
    if (target instanceof AudioDestinationNode) {{
      if (window.ear?.context !== this.context) window.ear = this.context.createAnalyser();
      window.ear.fftSize = {WINDOW};
      connect.call(this, window.ear);
    }}
    return connect.call(this, target, ...rest);
  }};
  window.started = [];
  const {{ start }} = AudioBufferSourceNode.prototype;
  AudioBufferSourceNode.prototype.start = function (...when) {{
    window.started.push({{ source: this, when }});
    return start.apply(this, when);
  }};
"""


class Sounds:
    """The sounds of a page as it holds them: mono, as the analyser hears them."""

    def __init__(self, page: Path, view: int = 0) -> None:
        self.text = page.read_text(encoding="utf-8")
        found = re.search(rf'id="view-{view}">(.*?)</script>', self.text)
        assert found
        self.view = json.loads(found[1])

    def stereo(self, side: str) -> np.ndarray:
        name = self.view["sides"][side]["audio"]
        found = re.search(rf'id="{name}">(.*?)</script>', self.text)
        assert found
        samples, rate = soundfile.read(io.BytesIO(base64.b64decode(found[1])))
        assert rate == RATE
        return samples

    def mono(self, side: str, gain_db: float = 0) -> np.ndarray:
        return 10 ** (gain_db / 20) * self.stereo(side).mean(1)

    def changed(self, restored: np.ndarray, lufs: float) -> str:
        """Return the page with another sound, of that loudness, in place of what was restored."""
        side = self.view["sides"]["restored"]
        flac = io.BytesIO()
        soundfile.write(flac, restored, RATE, format="FLAC", subtype="PCM_16")
        packed = base64.b64encode(flac.getvalue()).decode()
        text = re.sub(rf'(id="{side["audio"]}">)[^<]*', rf"\g<1>{packed}", self.text)
        return text.replace(f'"lufs":{side["lufs"]}', f'"lufs":{lufs}')


def place_in(heard: np.ndarray, sound: np.ndarray) -> tuple[int, float]:
    """Return where in a sound that repeats ``heard`` is, and what part of its power is something else."""
    n = len(sound)
    held = np.zeros(n)
    held[: len(heard)] = heard
    likeness = np.fft.irfft(np.fft.rfft(sound) * np.conj(np.fft.rfft(held)), n)
    energy = np.cumsum(np.concatenate([[0], sound, sound]) ** 2)
    power = (energy[len(heard) :] - energy[: -len(heard)])[:n]
    other = (np.square(heard).sum() + power - 2 * likeness) / np.square(heard).sum()
    at = int(np.argmin(other))
    return at, float(other[at])


def looped(sound: np.ndarray) -> np.ndarray:
    """Return the sound with the short fades at the ends of a loop."""
    i = np.arange(len(sound))
    return sound * np.minimum(1, np.minimum((i + 1) / EDGE, (len(sound) - i) / EDGE))


class Test:
    """A blind test in the browser."""

    __test__ = False

    def __init__(self, browser, page: Path, title: str = "Anfang") -> None:
        browser.open(page)
        browser.run(EAR)
        self.browser = browser
        browser.run(
            "[...document.querySelectorAll('.open')].find(b => b.textContent === arguments[0]).focus()",
            title,
        )
        browser.press(ENTER)
        for _ in range(30):
            if browser.run("return document.activeElement.textContent").startswith("Blind test"):
                break
            browser.press(TAB)
        browser.press(ENTER)
        assert self.title() == "Blind test"

    def title(self) -> str:
        return self.browser.run("return document.querySelector('.blind h2')?.textContent")

    def text(self) -> str:
        return self.browser.find(".blind").text

    def begin(self) -> None:
        self.browser.press(ENTER)
        self.browser.wait("return /^Trial/.test(document.querySelector('.blind h2').textContent)")

    def hear(self, key: str, seconds: float = 0.5) -> np.ndarray:
        """Press a key; return the last 0.37 s of the sound, once so much of it has been played."""
        self.browser.press(key)
        now = self.browser.run("return ear.context.currentTime")
        self.browser.wait(f"return ear.context.currentTime > {now + seconds}")
        return self.window()[-WINDOW // 2 :]

    def window_of_switch(self, before: str, after: str) -> np.ndarray:
        """Return 0.74 s of sound with the switch from one voice to another in their middle.

        The page itself presses the second key and looks when it is time: a busy machine may be late, so
        it is done again until the time was right.
        """
        for _ in range(20):
            self.hear(before, 0.8)
            late = self.browser.driver.execute_async_script(
                """
                const [key, done] = arguments;
                const began = ear.context.currentTime;
                const press = new KeyboardEvent("keydown", { key, bubbles: true });
                document.activeElement.dispatchEvent(press);
                const look = () => {
                  const passed = ear.context.currentTime - began;
                  if (passed < 0.35) return setTimeout(look, 2);
                  window.kept = new Float32Array(ear.fftSize);
                  ear.getFloatTimeDomainData(window.kept);
                  done(ear.context.currentTime - began);
                };
                look();
                """,
                after,
            )
            if late < 0.5:
                return self.samples("const s = window.kept;")
        pytest.fail("this machine was never in time")

    def window(self) -> np.ndarray:
        return self.samples(
            "const s = new Float32Array(ear.fftSize); ear.getFloatTimeDomainData(s);"
        )

    def samples(self, script: str) -> np.ndarray:
        """Return the Float32Array that the script calls ``s``."""
        packed = (
            "let t = ''; for (const b of new Uint8Array(s.buffer)) t += String.fromCharCode(b);"
        )
        text = self.browser.run(f"{script} {packed} return btoa(t)")
        return np.frombuffer(base64.b64decode(text), np.float32).astype(np.float64)

    def click(self, label: str) -> None:
        """Click the button of the test that has this label."""
        self.browser.run(
            "[...document.querySelectorAll('.blind button')]"
            ".find(b => b.textContent === arguments[0]).click()",
            label,
        )

    def draw(self, *bits: int) -> None:
        """Let X be drawn as these bits say, 1 for B, again and again."""
        self.browser.run(
            "const bits = arguments[0]; let i = 0;"
            "crypto.getRandomValues = (a) => { a[0] = bits[i++ % bits.length]; return a; };",
            list(bits),
        )

    def saved(self, folder: Path) -> dict:
        """Press S; return the file that the browser has saved."""
        self.browser.driver.execute_cdp_cmd(
            "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)}
        )
        self.browser.press("s")
        self.browser.wait(
            "return /^Saved as/.test(document.querySelector('.blind .message').textContent)"
        )
        from selenium.webdriver.support.wait import WebDriverWait  # noqa: PLC0415  # of the extra dev

        WebDriverWait(self.browser.driver, 10, 0.05).until(lambda _: list(folder.glob("*.json")))
        (file,) = folder.glob("*.json")
        assert file.name in self.text()
        return json.loads(file.read_text(encoding="utf-8"))


def view_of_six_seconds(page: Path) -> int:
    """Return the number of the view of the track: the one of six seconds."""
    lengths = []
    text = page.read_text(encoding="utf-8")
    for view in range(len(re.findall(r'id="view-\d+"', text))):
        lengths.append(len(Sounds(page, view).stereo("restored")))
    return lengths.index(6 * RATE)


def matching_gains(sounds: Sounds) -> list[float]:
    a, b = (sounds.view["sides"][side]["lufs"] for side in ("original", "restored"))
    return [min(0, b - a), min(0, a - b)]
