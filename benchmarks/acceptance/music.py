"""The folder of the acceptance run: real test tracks in every format, and files that must fail."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.acceptance.tagging import BACK, CHAPTERS, FRONT, Image, rich_fields, write_tags

Family = Literal["vorbis", "id3", "mp4", "apev2", "asf"]
Fate = Literal["whole", "truncated", "refused"]

_SKIPPED_S = 15  # of whole tracks: music often begins quietly
_MTIME_S = 1_000_000_000  # of the first file, in 2001; each has its own

_ENDS_MS = [start for start, _ in CHAPTERS[1:]] + [5000]
_CHAPTER_METADATA = ";FFMETADATA1\n" + "".join(
    f"[CHAPTER]\nTIMEBASE=1/1000\nSTART={start}\nEND={end}\ntitle={title}\n"
    for (start, title), end in zip(CHAPTERS, _ENDS_MS, strict=True)
)

COPY = ("-c", "copy")
AS_IT_IS = None

_STARFIGHTER = "packages/starfighter-data/usr/share/starfighter/music"
_HYPERROGUE = "packages/hyperrogue-music/usr/share/hyperrogue/music"
_HORIZONS = "packages/unknown-horizons/usr/share/unknown-horizons/content/audio/music"
_XMOTO = "packages/xmoto-data/usr/share/games/xmoto/Textures/Musics"
_RACER = "packages/extremetuxracer-data/usr/share/games/etr/music"
_FRETS = (
    "packages/fretsonfire-songs-sectoid/usr/share/games/fretsonfire/data/songs/sectoid/"
    "War of freedom"
)
_LINCITY = "packages/lincity-ng-data/usr/share/games/lincity-ng/music/default"
_SONIC = "packages/supersonic-scsynth-samples/package/samples"
_FLAC_24 = ("-sample_fmt", "s32", "-bits_per_raw_sample", "24", "-c:a", "flac")
_SURROUND = "pan=5.1|FL=FL|FR=FR|FC=0.3*FL+0.3*FR|LFE=0.2*FL+0.2*FR|BL=0.5*FL|BR=0.5*FR,aformat=s16"


@dataclass(frozen=True)
class Item:
    """One sound file of the folder, and what it is made from and to become.

    ``coding`` are ffmpeg's options; AS_IT_IS takes the whole original byte for byte. ``bits`` is
    the sample width that an archive must name.
    """

    name: str
    origin: str
    coding: tuple[str, ...] | None
    family: Family
    bits: int | None = None
    lossless: bool = False
    is_float: bool = False
    fate: Fate = "whole"
    cue_block: bool = False
    """Whether it has a FLAC cue sheet block, too."""

    @property
    def suffix(self) -> str:
        """The extension, without its dot."""
        return self.name.rpartition(".")[2]


def _lossy(name: str, origin: str, coding: tuple[str, ...] | None, family: Family) -> Item:
    return Item(name, origin, coding, family)


def _exact(name: str, origin: str, coding: tuple[str, ...] | None, bits: int) -> Item:
    families: dict[str, Family] = {"wav": "id3", "aiff": "id3", "m4a": "mp4", "wv": "apev2"}
    return Item(name, origin, coding, families.get(name.rpartition(".")[2], "vorbis"), bits, True)


_VORBIS = ("-c:a", "libvorbis", "-q:a", "5")
_OPUS = ("-c:a", "libopus", "-b:a", "96k")
_MP3 = ("-c:a", "libmp3lame", "-q:a", "2")

ITEMS = (
    # Vorbis, as it was published and cut without coding it again
    _lossy(
        "Hyper Rogue/03 Crossroads.ogg", f"{_HYPERROGUE}/hr3-crossroads.ogg", AS_IT_IS, "vorbis"
    ),
    _lossy("Hyper Rogue/07 Caves.ogg", f"{_HYPERROGUE}/hr3-caves.ogg", COPY, "vorbis"),
    _lossy("Hyper Rogue/08 Desert.ogg", f"{_HYPERROGUE}/hr3-desert.ogg", _VORBIS, "vorbis"),
    _lossy("Tux Racer/race1 – größer.ogg", f"{_RACER}/race1-jt.ogg", COPY, "vorbis"),
    _lossy("Tux Racer/Calm race 48k.ogg", f"{_RACER}/calmrace-ks.ogg", COPY, "vorbis"),
    # Opus
    _lossy(
        "Star Fighter/CD 1/01 Orbital.opus", f"{_STARFIGHTER}/orbital_colossus.ogg", _OPUS, "vorbis"
    ),
    _lossy(
        "Star Fighter/CD 1/02 Андроиды.opus",
        f"{_STARFIGHTER}/walking_among_androids.ogg",
        _OPUS,
        "vorbis",
    ),
    # MP3
    _lossy(
        "Star Fighter/CD 2/01 Railjet v2.3.mp3", f"{_STARFIGHTER}/railjet_short.ogg", _MP3, "id3"
    ),
    _lossy("Star Fighter/CD 2/02 Death v2.4.mp3", f"{_STARFIGHTER}/death.ogg", _MP3, "id3"),
    _lossy(
        "Horizons/海/Seafight v2.3.mp3",
        f"{_HORIZONS}/seafight.ogg",
        ("-c:a", "libmp3lame", "-b:a", "128k"),
        "id3",
    ),
    _lossy(
        "Horizons/海/Ireland's Coast 48k v2.4.mp3", f"{_HORIZONS}/irelands_coast.ogg", _MP3, "id3"
    ),
    _lossy(
        "Horizons/Mono 22k v2.4.mp3",
        f"{_HORIZONS}/battle.ogg",
        ("-ac", "1", "-ar", "22050", "-c:a", "libmp3lame"),
        "id3",
    ),
    # m4a, WMA
    _lossy(
        "Horizons/Goldenvalley.m4a",
        f"{_HORIZONS}/goldenvalley.ogg",
        ("-c:a", "aac", "-b:a", "128k"),
        "mp4",
    ),
    _lossy(
        "X-Moto/Legolodio.wma", f"{_XMOTO}/legolodio.ogg", ("-c:a", "wmav2", "-b:a", "128k"), "asf"
    ),
    # lossless: FLAC, WAV, AIFF, ALAC, WavPack
    _exact(
        "X-Moto/Fox Run.flac", f"{_XMOTO}/foxrun.ogg", ("-sample_fmt", "s16", "-c:a", "flac"), 16
    ),
    Item(
        "Sonic Pi/ambi sauna.flac",
        f"{_SONIC}/ambi_sauna.flac",
        AS_IT_IS,
        "vorbis",
        16,
        True,
        cue_block=True,
    ),
    _exact("Sonic Pi/arovane beat a.flac", f"{_SONIC}/arovane_beat_a.flac", AS_IT_IS, 24),
    _exact("LMMS/24 bit/Mauiwowi.flac", "tiers/T1/lmms-common_Alf42red-Mauiwowi.wav", _FLAC_24, 24),
    _exact(
        "LMMS/16 bit/Zen.wav", "tiers/T1/lmms-common_Impulslogik-Zen.wav", ("-c:a", "pcm_s16le"), 16
    ),
    _exact(
        "LMMS/24 bit/Onion.wav", "tiers/T1/lmms-common_Skiessi-Onion.wav", ("-c:a", "pcm_s24le"), 24
    ),
    _exact(
        "LMMS/32 bit/Progress.wav",
        "tiers/T1/lmms-common_Socceroos-Progress.wav",
        ("-c:a", "pcm_s32le"),
        32,
    ),
    Item(
        "LMMS/32 bit/Make me float.wav",
        "tiers/T1/lmms-common_TameAnderson-MakeMe.wav",
        ("-c:a", "pcm_f32le"),
        "id3",
        32,
        True,
        True,
    ),
    Item(
        "LMMS/64 bit/Axe.wav",
        "tiers/T1/lmms-common_Thomasso-AxeFromThe80s.wav",
        ("-c:a", "pcm_f64le"),
        "id3",
        64,
        True,
        True,
    ),
    _exact(
        "OpenTTD/Harp Harmony.aiff",
        "tiers/T1/openttd-openmsx_harp-harmony.wav",
        ("-c:a", "pcm_s16be"),
        16,
    ),
    _exact(
        "OpenTTD/TT Theme.aiff", "tiers/T1/openttd-openmsx_tttheme2.wav", ("-c:a", "pcm_s24be"), 24
    ),
    _exact(
        "OpenTTD/Relax ALAC.m4a",
        "tiers/T1/openttd-openmsx_relax-song.wav",
        ("-sample_fmt", "s16p", "-c:a", "alac"),
        16,
    ),
    _exact(
        "OpenTTD/Wood Whistles.wv",
        "tiers/T1/openttd-openmsx_wood-whistles.wav",
        ("-sample_fmt", "s16p", "-c:a", "wavpack"),
        16,
    ),
    _exact(
        "Frets on Fire/song.oga", f"{_FRETS}/song.ogg", ("-sample_fmt", "s16", "-c:a", "flac"), 16
    ),
    # two formats of one name
    _exact(
        "Twins/a.flac",
        f"{_LINCITY}/01 - pronobozo - lincity.ogg",
        ("-sample_fmt", "s16", "-c:a", "flac"),
        16,
    ),
    _lossy("Twins/a.mp3", f"{_LINCITY}/01 - pronobozo - lincity.ogg", _MP3, "id3"),
    # channels, rates and depths
    _exact(
        "Odd ones/mono.flac",
        "tiers/T2/supersonic-scsynth-samples_arovane-beat-b.wav",
        ("-ac", "1", *_FLAC_24),
        24,
    ),
    _exact("Odd ones/48k.wav", "packages/encodec/encodec-0.1.1/test_48k.wav", AS_IT_IS, 16),
    _exact(
        "Odd ones/96k 24 bit.flac",
        "tiers/T1/openttd-openmsx_city-blues-redfarn.wav",
        ("-af", "aresample=96000:resampler=soxr", *_FLAC_24),
        24,
    ),
    _exact(
        "Odd ones/8 bit.wav",
        "tiers/T1/openttd-openmsx_boogi-marabi-redfarn.wav",
        ("-c:a", "pcm_u8"),
        8,
    ),
    _exact(
        "Odd ones/5.1.flac",
        "tiers/T1/openttd-openmsx_modern-motion.wav",
        ("-af", _SURROUND, "-c:a", "flac"),
        16,
    ),
    # cut in half
    Item(
        "Cut/cut.flac",
        f"{_XMOTO}/foxrun.ogg",
        ("-sample_fmt", "s16", "-c:a", "flac"),
        "vorbis",
        16,
        True,
        fate="refused",
    ),
    Item("Cut/cut.mp3", f"{_HORIZONS}/uh_gameplay2.ogg", _MP3, "id3", fate="truncated"),
    Item("Cut/cut.ogg", f"{_STARFIGHTER}/sound_and_silence.ogg", COPY, "vorbis", fate="truncated"),
    Item(
        "Cut/cut.wav",
        "tiers/T1/openttd-openmsx_chemistry-lab.wav",
        ("-c:a", "pcm_s16le"),
        "id3",
        16,
        True,
        fate="truncated",
    ),
)

NOT_SOUND = {
    "Cut/text.flac": b"This is a text, whatever its name says.\n" * 20,
    "Cut/empty.mp3": b"",
}
SIDECARS = {
    "Hyper Rogue/folder.jpg": b"\xff\xd8\xff\xe0a cover\xff\xd9",
    "LMMS/16 bit/album.cue": b'FILE "Zen.wav" WAVE\r\n  TRACK 01 AUDIO\r\n    INDEX 01 00:00:00\r\n',
    "LMMS/16 bit/rip.log": b"Exact Audio Copy V1.6\r\n",
    "Twins/.hidden": b"a dot-file",
}


def make_folder(root: Path, folder: Path, seconds: float) -> None:
    """Write the folder of ITEMS, NOT_SOUND and SIDECARS; tracks are cut to ``seconds``.

    ``root`` is the folder of the originals, as benchmarks/data/README.md fills it.
    """
    for number, item in enumerate(ITEMS, 1):
        path = folder / item.name
        path.parent.mkdir(parents=True, exist_ok=True)
        origin = root / item.origin
        if item.coding is None:
            shutil.copyfile(origin, path)
        else:
            _encode(origin, path, item.coding, seconds)
        write_tags(path, rich_fields(number, path.stem), _pictures(number))
        if item.cue_block:
            _add_cue_block(path)
        if item.fate != "whole":
            os.truncate(path, path.stat().st_size // 2)
    for name, data in (NOT_SOUND | SIDECARS).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    for number, path in enumerate(sorted(folder.rglob("*"))):
        if path.is_file():
            os.utime(path, (_MTIME_S + 86_400 * number,) * 2)


def _encode(origin: Path, path: Path, coding: tuple[str, ...], seconds: float) -> None:
    whole_track = origin.suffix == ".ogg" and coding != COPY
    seek = ["-ss", str(_SKIPPED_S)] if whole_track else []
    command = ["ffmpeg", "-v", "error", *seek, "-i", str(origin)]
    command += ["-f", "ffmetadata", "-i", "-", "-map", "0:a:0"]
    command += ["-map_metadata:g", "-1", "-map_metadata:s:a", "-1"]
    # mutagen cannot write chapters into MP4; elsewhere it will.
    command += ["-map_chapters", "1" if path.suffix == ".m4a" else "-1"]
    command += ["-t", str(seconds), "-fflags", "+bitexact", *coding, str(path)]
    subprocess.run(command, input=_CHAPTER_METADATA.encode(), check=True)


def _pictures(number: int) -> list[Image]:
    """Return two true pictures that no other track has: a JPEG for the front, a PNG for the back."""
    images = []
    for type_, kind, codec in ((FRONT, "jpeg", "mjpeg"), (BACK, "png", "png")):
        source = f"gradients=size=500x500:nb_colors=4:seed={10 * number + type_}"
        command = ["ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i", source]
        command += ["-frames:v", "1", "-c:v", codec, "-f", "image2pipe", "-"]
        data = subprocess.run(command, check=True, capture_output=True).stdout
        images.append(Image(type_, f"image/{kind}", data))
    return images


def _add_cue_block(path: Path) -> None:
    sheet = (
        'CATALOG 1234567890123\nFILE "x.flac" FLAC\n  TRACK 01 AUDIO\n    INDEX 01 00:00:00\n'
        "  TRACK 02 AUDIO\n    INDEX 00 00:03:70\n    INDEX 01 00:04:00\n"
    )
    command = ["metaflac", "--import-cuesheet-from=-", "--no-cued-seekpoints", str(path)]
    subprocess.run(command, input=sheet.encode(), check=True)
