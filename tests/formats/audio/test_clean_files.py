"""Clean files of every encoder that is installed: nothing untrue is said of them, and none is short.

Some hundred files; an encoder that is missing is left out.
"""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from earzip.formats.tags.read import read_tags
from tests.formats.audio.audio_files import music, read_source, write_wav

pytestmark = pytest.mark.slow

LENGTHS = (300, 1_152, 4_097, 66_667, 200_003)
# Command, then extension, then by how many samples of 44.1 kHz the length may be off: coded frames are
# whole where a container has no length to the sample.
FFMPEG = {
    "wav": ("a.wav", [], 0),
    "wav 24": ("a.wav", ["-c:a", "pcm_s24le"], 0),
    "wav 32": ("a.wav", ["-c:a", "pcm_s32le"], 0),
    "wav float": ("a.wav", ["-c:a", "pcm_f32le"], 0),
    "wav 8": ("a.wav", ["-c:a", "pcm_u8"], 0),
    "wav a-law": ("a.wav", ["-c:a", "pcm_alaw"], 0),
    "wav adpcm": ("a.wav", ["-c:a", "adpcm_ms"], 2_100),
    "wav ima": ("a.wav", ["-c:a", "adpcm_ima_wav"], 2_100),
    "wav mp3": ("a.wav", ["-c:a", "libmp3lame"], 4_000),
    "rf64": ("a.wav", ["-rf64", "always"], 0),
    "w64": ("a.w64", [], 3),  # its size is a multiple of 8 bytes
    "aiff": ("a.aiff", [], 0),
    "aiff 24": ("a.aiff", ["-c:a", "pcm_s24be"], 0),
    "aifc": ("a.aiff", ["-c:a", "pcm_s16le"], 0),
    "au": ("a.au", [], 0),
    "caf": ("a.caf", ["-c:a", "pcm_s16be"], 0),
    "caf alac": ("a.caf", ["-c:a", "alac"], 0),
    "flac": ("a.flac", [], 0),
    "flac 24": ("a.flac", ["-sample_fmt", "s32"], 0),
    "flac tagged": ("a.flac", ["-metadata", "title=x", "-compression_level", "12"], 0),
    "ogg flac": ("a.oga", ["-c:a", "flac"], 0),
    "mka flac": ("a.mka", ["-c:a", "flac"], 0),
    "mp4 flac": ("a.mp4", ["-c:a", "flac", "-strict", "-2"], 0),
    "mka pcm": ("a.mka", ["-c:a", "pcm_s16le"], 0),
    "mp3": ("a.mp3", [], 0),
    "mp3 vbr": ("a.mp3", ["-q:a", "3"], 0),
    "mp3 plain": ("a.mp3", ["-write_xing", "0", "-id3v2_version", "0"], 4_000),
    "mp3 tagged": ("a.mp3", ["-metadata", "title=x", "-write_id3v1", "1", "-write_apetag", "1"], 0),
    "mp2": ("a.mp2", [], 4_000),
    "vorbis": ("a.ogg", ["-c:a", "libvorbis"], 0),
    "vorbis fast": ("a.ogg", ["-c:a", "libvorbis", "-page_duration", "20000"], 0),
    "opus": ("a.opus", ["-c:a", "libopus"], 2),
    "opus slow": ("a.opus", ["-c:a", "libopus", "-frame_duration", "60"], 2),
    "aac": ("a.m4a", ["-c:a", "aac"], 45),
    "aac fast": ("a.m4a", ["-c:a", "aac", "-movflags", "faststart"], 45),
    "aac fragments": ("a.m4a", ["-c:a", "aac", "-movflags", "frag_keyframe+empty_moov"], 4_000),
    "alac": ("a.m4a", ["-c:a", "alac"], 0),
    "adts": ("a.aac", ["-c:a", "aac"], 4_000),
    "mp4 mp3": ("a.mp4", ["-c:a", "libmp3lame"], 45),
    "mp4 ac3": ("a.mp4", ["-c:a", "ac3"], 2_000),
    "mp4 opus": ("a.mp4", ["-c:a", "libopus"], 2_000),
    "mov pcm": ("a.mov", ["-c:a", "pcm_s16le"], 0),
    "ac3": ("a.ac3", [], 4_000),
    "eac3": ("a.eac3", [], 4_000),
    "wma": ("a.wma", ["-c:a", "wmav2"], 5_000),
    "wma 1": ("a.wma", ["-c:a", "wmav1"], 5_000),
    "wavpack": ("a.wv", [], 0),
    "wavpack 24": ("a.wv", ["-sample_fmt", "s32p"], 0),
    "wavpack float": ("a.wv", ["-sample_fmt", "fltp"], 0),
    "tta": ("a.tta", [], 0),
    "mka aac": ("a.mka", ["-c:a", "aac"], 4_000),
    "mka opus": ("a.mka", ["-c:a", "libopus"], 2_000),
    "mka mp3": ("a.mka", ["-c:a", "libmp3lame"], 4_000),
    "webm": ("a.webm", ["-c:a", "libvorbis"], 4_000),
}
OTHERS = {
    "flac": ("a.flac", "flac --silent IN -o OUT", 0),
    "flac best": ("a.flac", "flac --silent -8 -e -p --replay-gain IN -o OUT", 0),
    "flac blocks": ("a.flac", "flac --silent -0 -b 576 IN -o OUT", 0),
    "flac ogg": ("a.oga", "flac --silent --ogg IN -o OUT", 0),
    "oggenc": ("a.ogg", "oggenc --quiet -q 5 IN -o OUT", 0),
    "oggenc managed": ("a.ogg", "oggenc --quiet --managed -b 128 -t title IN -o OUT", 0),
    "opusenc": ("a.opus", "opusenc --quiet IN OUT", 2),
    "opusenc slow": ("a.opus", "opusenc --quiet --framesize 60 --bitrate 24 IN OUT", 2),
    "lame": ("a.mp3", "lame --quiet IN OUT", 0),
    "lame vbr": ("a.mp3", "lame --quiet -V 2 IN OUT", 0),
    "lame abr": ("a.mp3", "lame --quiet --abr 120 IN OUT", 0),
    "lame checked": ("a.mp3", "lame --quiet -p -b 320 IN OUT", 0),
    "lame low": ("a.mp3", "lame --quiet --resample 22.05 -b 64 IN OUT", 2),
    "lame lowest": ("a.mp3", "lame --quiet --resample 22.05 -b 32 IN OUT", 6_000),
    "lame plain": ("a.mp3", "lame --quiet -t -b 96 IN OUT", 4_000),
    "twolame": ("a.mp2", "twolame --quiet IN OUT", 4_000),
    "twolame checked": ("a.mp2", "twolame --quiet -p -V 5 IN OUT", 4_000),
    "wavpack": ("a.wv", "wavpack -q IN -o OUT", 0),
    "wavpack fast": ("a.wv", "wavpack -q -f -m IN -o OUT", 0),
    "wavpack high": ("a.wv", "wavpack -q -hh -x2 -m IN -o OUT", 0),
    "wavpack hybrid": ("a.wv", "wavpack -q -b256 IN -o OUT", 0),
    "mpcenc": ("a.mpc", "mpcenc --silent IN OUT", 0),
    "mpcenc high": ("a.mpc", "mpcenc --silent --insane IN OUT", 0),
    "speexenc": ("a.spx", "speexenc IN OUT", 0),
    "speexenc vbr": ("a.spx", "speexenc --vbr IN OUT", 0),
    "sox wav": ("a.wav", "sox IN OUT", 0),
    "sox aiff": ("a.aiff", "sox IN OUT", 0),
    "sox au": ("a.au", "sox IN OUT", 0),
    "sox w64": ("a.w64", "sox IN OUT", 0),
    "sox caf": ("a.caf", "sox IN OUT", 0),
    "sox piped": ("a.wav", "sox IN -t wav -", 0),
    "sox piped aiff": ("a.aiff", "sox IN -t aiff -", 0),
    "sox piped au": ("a.au", "sox IN -t au -", 0),
    "sox piped 24": ("a.wav", "sox IN -b 24 -t wav -", 0),
    "sox piped aiff 24": ("a.aiff", "sox IN -b 24 -t aiff -", 0),
    "ffmpeg piped wav": ("a.wav", "ffmpeg -v error -i IN -f wav -", 0),
    "ffmpeg piped rf64": ("a.wav", "ffmpeg -v error -i IN -rf64 always -f wav -", 0),
    "ffmpeg piped wma": ("a.wma", "ffmpeg -v error -i IN -c:a wmav2 -f asf -", 5_000),
    "ffmpeg piped au": ("a.au", "ffmpeg -v error -i IN -f au -", 0),
    "ffmpeg piped mka": ("a.mka", "ffmpeg -v error -i IN -c:a pcm_s16le -f matroska -", 2_000),
    "ffmpeg piped flac": ("a.flac", "ffmpeg -v error -i IN -f flac -", 0),
    "ffmpeg piped aiff": ("a.aiff", "ffmpeg -v error -i IN -f aiff -", 0),
    "ffmpeg piped w64": ("a.w64", "ffmpeg -v error -i IN -f w64 -", 0),
    "ffmpeg piped caf": ("a.caf", "ffmpeg -v error -i IN -f caf -c:a pcm_s16be -", 0),
}
# What is true of every such file that ffmpeg makes: it writes its name into each.
UNREAD = {
    ".caf": "the tags (info chunk) of the CAF file are not archived",
    ".mka": "tags, chapters and pictures of Matroska files are not archived",
    ".webm": "tags, chapters and pictures of Matroska files are not archived",
}
COMMANDS = {f"ffmpeg {kind}": value for kind, value in FFMPEG.items()} | OTHERS
# These lose a short file, or all of one: encoders that write nothing, and FFmpeg's decoder of Musepack.
TOO_SHORT = {
    "mpcenc": 1_152,
    "mpcenc high": 1_152,
    "ffmpeg ac3": 1_152,
    "ffmpeg wma": 5_000,
    "ffmpeg wma 1": 5_000,
    "ffmpeg piped wma": 5_000,
    "ffmpeg mp4 mp3": 1_152,
}


def sounds():
    """Each length once; music, mono, silence, full scale, quiet music, and silence at both ends."""
    for n_frames in LENGTHS:
        yield f"music {n_frames}", music(n_frames)
    yield "mono", music(66_667, 1)
    yield "silence", np.zeros((2, 50_000), np.float32)
    noise = np.random.default_rng(0).uniform(-1, 1, (2, 50_001)).astype(np.float32)
    yield "full scale", noise
    yield "quiet", 3e-4 * music(90_001)
    faded = music(150_000)
    faded[:, :50_000] = faded[:, 100_000:] = 0
    yield "silent ends", faded


@pytest.fixture(scope="module")
def wavs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clean")
    return [write_wav(folder / f"{name.replace(' ', '-')}.wav", sound) for name, sound in sounds()]


def made(kind: str, wav: Path, folder: Path) -> Path | None:
    """The file that an encoder makes of ``wav``; None if it makes none."""
    name, command, _ = COMMANDS[kind]
    target = folder / name
    if isinstance(command, list):
        words = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", wav, *command, target]
    else:
        words = [{"IN": wav, "OUT": target}.get(word, word) for word in command.split()]
    if shutil.which(words[0]) is None:
        pytest.skip(f"needs {words[0]}")
    done = subprocess.run(list(map(str, words)), check=False, capture_output=True)
    if words[-1] == "-":
        target.write_bytes(done.stdout)
    return target if not done.returncode and target.stat().st_size else None


@pytest.mark.parametrize("kind", COMMANDS)
def test_nothing_untrue_is_said_of_a_clean_file(tmp_path, wavs, kind):
    pytest.importorskip("av")
    slack = COMMANDS[kind][2]
    n_files = 0
    for number, wav in enumerate(wavs):
        n_frames = (wav.stat().st_size - 44) // (2 if wav.stem == "mono" else 4)
        if n_frames <= TOO_SHORT.get(kind, 0):
            continue
        folder = tmp_path / str(number)
        folder.mkdir()
        path = made(kind, wav, folder)
        if path is None:  # an encoder that takes no sound of this length or number of channels
            continue
        got, source = read_source(path)
        where = f"{kind}: {wav.stem}"
        assert source.truncated is None, where
        assert source.notes == (), where
        assert source.checksums in (None, "right"), where
        unread = UNREAD.get(path.suffix)
        assert [each for each in read_tags(path).problems if each != unread] == [], where
        n_read = round(got.shape[1] * 44_100 / source.facts.sample_rate)
        assert abs(n_read - n_frames) <= slack, f"{where}: {n_read} of {n_frames}"
        n_files += 1
    assert n_files >= len(wavs) - 3
