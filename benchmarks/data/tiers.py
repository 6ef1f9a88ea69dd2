"""Cut the test tiers and the validation clips: `python -m benchmarks.data.tiers`.

Writes 44.1 kHz stereo WAV files under `ROOT/tiers/` and `ROOT/tiers/tiers.json`, which lists them:

- T1 lossless renders: LMMS demo projects, and OpenTTD's MIDI music with a sound font that training
  does not use;
- T2 lossless recordings: stereo samples of Sonic Pi of 4 s and more, and the test recording of
  encodec;
- T3 well-coded recordings: hyperrogue-music, 319 kbps Vorbis;
- T4 other coded recordings: the rest of the test set;
- T5 voices and acoustic instruments: a song, and five recordings (needs `--songs`);
- T6 attacks: drum kits and a sound font that training does not use, applause;
- val: validation tracks and solo MIDI renders, for choosing models, and the like of T5 and T6.

A clip is the middle of its track. Needs fluidsynth, and lmms installed with its data. LMMS renders
whole projects, which takes a quarter of an hour, so they are kept under `ROOT/lmms`.
"""

import argparse
import csv
import functools
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.data import critical, drums
from benchmarks.data.decode import load
from benchmarks.data.pcm import (
    CHANNELS,
    FULL_SCALE,
    SAMPLE_RATE,
    Samples,
    decode,
    fit,
    gated_rms_db,
    normalise,
    read_set,
    to_int16,
)
from benchmarks.data.render import soundfont_file, synthesise
from benchmarks.data.tracks import Track, package_folder, read_tracks

TEST_CLIP_S = 20
VAL_CLIP_S = 15
SHORTEST_SAMPLE_S = 4.0
QUIET_DB = -60.0
LMMS_TIMEOUT_S = 900

T3_PACKAGE = "hyperrogue-music"
SAMPLES_PACKAGE = "supersonic-scsynth-samples"
VAL_TRACKS_PER_PACKAGE = 5
VAL_SOLOS = 4

LICENCES = Path(__file__).with_name("licences.tsv")


@dataclass(frozen=True)
class Source:
    """One clip to make."""

    tier: str
    name: str  # `package/track`
    load: Callable[[], Samples]  # the whole track, float32 `[T, 2]` at 44.1 kHz
    lossy: bool  # whether the source was coded before
    bits: int = 16
    normalised: bool = False  # peak to −1 dBFS, else turned down only if it clips
    seconds: int = TEST_CLIP_S


@dataclass(frozen=True)
class Clip:
    """A clip as `tiers.json` lists it."""

    tier: str
    file: str  # relative to that list
    name: str
    source: str
    start_s: float
    seconds: float
    bits: int
    lossy: bool
    gain_db: float  # by which the clip was turned up or down
    rms_db: float
    licence: str | None


def middle(audio: Samples, seconds: float) -> tuple[int, Samples]:
    """First frame of the middle `seconds`, and the audio from there; all of it if shorter."""
    length = round(seconds * SAMPLE_RATE)
    start = max(0, (len(audio) - length) // 2)
    return start, audio[start : start + length]


def render_lmms(project: Path, wav: Path) -> Samples:
    """Render an LMMS project in float, once; the file is kept at `wav`."""
    if not wav.exists():
        wav.parent.mkdir(parents=True, exist_ok=True)
        partial = wav.with_suffix(".partial.wav")
        command = ["lmms", "-r", str(project), "-f", "wav", "-a", "-s", str(SAMPLE_RATE)]
        command += ["-o", str(partial)]
        if os.geteuid() == 0:
            # As root LMMS would give itself real-time priority and starve the machine.
            command.insert(1, "--allowroot")
            drop = ["--inh-caps=-sys_nice", "--bounding-set=-sys_nice"]
            command = ["setpriv", *drop, *command]
        # A home of its own, because LMMS writes its settings there.
        with tempfile.TemporaryDirectory() as home:
            environment = os.environ | {"HOME": home, "QT_QPA_PLATFORM": "offscreen"}
            subprocess.run(
                command,
                env=environment,
                check=True,
                timeout=LMMS_TIMEOUT_S,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        partial.rename(wav)
    return decode(wav)


def lossless_renders(root: Path) -> Iterator[Source]:
    """T1."""
    folder = package_folder(root, "openttd-openmsx")
    soundfont = soundfont_file(root, "timgm6mb-soundfont")
    for midi in sorted(folder.rglob("*.mid")):
        play = functools.partial(synthesise, midi, soundfont)
        name = f"openttd-openmsx/{midi.stem}"
        yield Source("T1", name, play, lossy=False, bits=24, normalised=True)
    demos = package_folder(root, "lmms-common") / "usr/share/lmms/projects/demos"
    for project in sorted(demos.rglob("*.mmp*")):
        wav = root / "lmms" / f"{project.stem}.wav"
        play = functools.partial(render_lmms, project, wav)
        yield Source(
            "T1", f"lmms-common/{project.stem}", play, lossy=False, bits=24, normalised=True
        )


def lossless_recordings(root: Path) -> Iterator[Source]:
    """T2."""
    for path in sorted(package_folder(root, SAMPLES_PACKAGE).rglob("*.flac")):
        info = soundfile.info(path)
        if info.channels == CHANNELS and info.duration >= SHORTEST_SAMPLE_S:
            bits = 24 if info.subtype == "PCM_24" else 16
            name = f"{SAMPLES_PACKAGE}/{path.stem}"
            yield Source("T2", name, functools.partial(decode, path), lossy=False, bits=bits)
    (recording,) = package_folder(root, "encodec").rglob("test_48k.wav")
    play = functools.partial(decode, recording)
    yield Source("T2", f"encodec/{recording.stem}", play, lossy=False, bits=24)


def coded_recordings(root: Path) -> Iterator[Source]:
    """T3 and T4."""
    for track in read_tracks("test"):
        tier = "T3" if track.package == T3_PACKAGE else "T4"
        yield Source(tier, track.name, functools.partial(load, track, root), lossy=True)


def voices(folder: Path | None) -> Iterator[Source]:
    """T5; nothing without a folder."""
    if folder:
        for name, play in critical.voices(folder, "test"):
            yield Source("T5", name, play, lossy=True)


def attacks(root: Path) -> Iterator[Source]:
    """T6."""
    for name, play in critical.attacks(root, "test", TEST_CLIP_S):
        yield Source("T6", name, play, lossy=False)


def critical_validation(root: Path, folder: Path | None) -> Iterator[Source]:
    """The like of T5 and T6, of other voices, kits and sound fonts, as far as it is fetched."""
    if folder:
        for name, play in critical.voices(folder, "val"):
            yield Source("val", name, play, lossy=True, seconds=VAL_CLIP_S)
    if package_folder(root, drums.PACKAGE).exists():
        for name, play in critical.attacks(root, "val", VAL_CLIP_S):
            yield Source("val", name, play, lossy=False, seconds=VAL_CLIP_S)


def validation(root: Path) -> Iterator[Source]:
    """Tracks spread over the packages of the validation set, and solo renders if there are any."""
    packages: dict[str, list[Track]] = {}
    for track in read_tracks("val"):
        packages.setdefault(track.package, []).append(track)
    for tracks in packages.values():
        for index in range(VAL_TRACKS_PER_PACKAGE):
            track = tracks[index * len(tracks) // VAL_TRACKS_PER_PACKAGE]
            play = functools.partial(load, track, root)
            yield Source("val", track.name, play, lossy=True, seconds=VAL_CLIP_S)
    if (root / "valmidi.json").exists():
        samples, entries = read_set(root, "valmidi")
        for index in range(min(VAL_SOLOS, len(entries))):
            entry = entries[index * len(entries) // VAL_SOLOS]
            cut = samples[entry["start"] : entry["start"] + entry["frames"]]
            yield Source(
                "val",
                entry["name"],
                functools.partial(lambda cut: cut.astype(np.float32) / FULL_SCALE, cut),
                lossy=False,
                seconds=VAL_CLIP_S,
            )


def write_wav(path: Path, audio: Samples, bits: int) -> None:
    """Write PCM of 16 or 24 bits; samples that came from that many bits come out bit for bit."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if bits == 16:
        soundfile.write(path, to_int16(audio), SAMPLE_RATE, subtype="PCM_16")
        return
    highest = 2**23
    scaled = np.clip(np.rint(audio.astype(np.float64) * highest), -highest, highest - 1)
    soundfile.write(path, scaled.astype(np.int32) << 8, SAMPLE_RATE, subtype="PCM_24")


def make(source: Source, folder: Path, licences: dict[str, str]) -> Clip | None:
    """Write the clip of one source; none, with a word on stderr, if it is silent or fails."""
    try:
        start, cut = middle(source.load(), source.seconds)
    except subprocess.SubprocessError as error:
        print(f"left out {source.name}: {error}", file=sys.stderr)
        return None
    if gated_rms_db(cut) < QUIET_DB or not np.isfinite(cut).all():
        print(f"left out {source.name}: silent or not finite", file=sys.stderr)
        return None
    audio = normalise(cut) if source.normalised else fit(cut)
    package, _, track = source.name.partition("/")
    slug = re.sub(r"[^A-Za-z0-9]+", "-", track.removesuffix(".ogg"))
    file = Path(source.tier, f"{package}_{slug}.wav")
    write_wav(folder / file, audio, source.bits)
    return Clip(
        tier=source.tier,
        file=file.as_posix(),
        name=source.name,
        source=package,
        start_s=round(start / SAMPLE_RATE, 3),
        seconds=round(len(audio) / SAMPLE_RATE, 3),
        bits=source.bits,
        lossy=source.lossy,
        gain_db=round(20 * float(np.log10(np.abs(audio).max() / np.abs(cut).max())), 2),
        rms_db=round(gated_rms_db(audio), 2),
        licence=licences.get(package),
    )


def read_licences(path: Path = LICENCES) -> dict[str, str]:
    """Licences by package."""
    with path.open(newline="", encoding="utf-8") as lines:
        return {row["package"]: row["licences"] for row in csv.DictReader(lines, delimiter="\t")}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--root", type=Path, default=Path("data"), help="where fetch.py put the packages"
    )
    parser.add_argument(
        "--songs", type=Path, help="the folder of songs and test recordings, for T5 and val"
    )
    parser.add_argument(
        "--tier",
        dest="tiers",
        action="append",
        choices=["T1", "T2", "T3", "T4", "T5", "T6", "val"],
        help="may be repeated; all without it",
    )
    parser.add_argument("--jobs", type=int, default=2, help="clips made at once")
    args = parser.parse_args()
    folder = args.root / "tiers"
    folder.mkdir(parents=True, exist_ok=True)
    makers: dict[str, Callable[[Path], Iterator[Source]]] = {
        "val": lambda root: chain(validation(root), critical_validation(root, args.songs)),
        "T5": lambda _: voices(args.songs),
        "T6": attacks,
        "T2": lossless_recordings,
        "T3": coded_recordings,
        "T4": coded_recordings,
        "T1": lossless_renders,
    }
    wanted = args.tiers or list(makers)
    sources = [
        source
        for maker in dict.fromkeys(makers[tier] for tier in wanted)
        for source in maker(args.root)
        if source.tier in wanted
    ]
    licences = read_licences()
    listing = folder / "tiers.json"
    listed = json.loads(listing.read_text(encoding="utf-8")) if listing.exists() else []
    clips = [clip for clip in listed if clip["tier"] not in wanted]
    with ThreadPoolExecutor(args.jobs) as pool:
        made = pool.map(lambda source: make(source, folder, licences), sources)
        clips += [asdict(clip) for clip in made if clip]
    clips.sort(key=lambda clip: (clip["tier"], clip["file"]))
    listing.write_text(json.dumps(clips, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for tier in sorted(wanted):
        durations = [clip["seconds"] for clip in clips if clip["tier"] == tier]
        print(f"tiers/{tier} ready {len(durations)} clips {sum(durations) / 60:.1f} min")


if __name__ == "__main__":
    main()
