"""Sound files for the tests, made by the real encoders."""

import shutil
import subprocess

import numpy as np
import pytest
import soundfile

from earzip.formats.audio.source import open_source

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
needs_flac = pytest.mark.skipif(shutil.which("flac") is None, reason="needs flac")
needs_opusenc = pytest.mark.skipif(shutil.which("opusenc") is None, reason="needs opusenc")

RATE = 44_100


def music(n_frames, channels=2, rate=RATE, seed=0):
    """Float32 [C, T]: a chord with a beat in it and a little noise, so that no codec is at ease."""
    rng = np.random.default_rng(seed)
    time = np.arange(n_frames) / rate
    sound = np.zeros((channels, n_frames))
    for channel in range(channels):
        for partial in (220, 277.2, 329.6, 1760):
            phase = 2 * np.pi * (partial * (1 + 0.01 * channel) * time + rng.random())
            sound[channel] += 0.1 * np.sin(phase)
    beat = 0.4 + 0.6 * ((time * 4) % 1 < 0.2)
    return (sound * beat + 0.02 * rng.standard_normal(sound.shape)).astype(np.float32)


def write_wav(path, sound, rate=RATE, subtype="PCM_16", **options):
    """``sound`` [C, T], rounded to the subtype; the extension names the container."""
    if subtype.startswith("PCM_"):  # libsndfile would round down
        bits = int(subtype.strip("PCM_U"))
        limit = 1 << (bits - 1)
        whole = np.clip(np.rint(sound.astype(np.float64) * limit), -limit, limit - 1)
        sound = whole.astype(np.int32) << (32 - bits)
    soundfile.write(path, sound.T, rate, subtype=subtype, **options)
    return path


def ffmpeg(*arguments, **options):
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, **options)


def encode(source, target, *options):
    """``source`` through ffmpeg into ``target``; the extension names the container."""
    ffmpeg("-i", source, *options, target)
    return target


def run_encoder(*command, target):
    """Run an encoder that prints; skip the test where it is not installed. Return ``command[target]``."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"needs {command[0]}")
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    return command[target]


def read_source(path):
    """(float32 [C, T], the reader after its end)."""
    with open_source(path) as source:
        blocks = list(source.blocks())
    empty = np.zeros((source.facts.channels, 0), np.float32)
    return np.concatenate([empty, *blocks], axis=1), source


def packet_starts(path):
    """Byte offset of every packet (frame), by ffprobe."""
    command = ["ffprobe", "-v", "error", "-show_entries", "packet=pos", "-of", "csv=p=0", path]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [int(line.strip(",")) for line in done.stdout.split()]


def cut(path, target, n_bytes):
    target.write_bytes(path.read_bytes()[:n_bytes])
    return target


def delay(reference, got, reach=2_000):
    """How many samples ``got`` lags behind ``reference`` (float [T] each), by correlation."""
    length = min(len(reference), len(got))
    size = 2 * length
    spectrum = np.fft.rfft(got[:length], size) * np.conj(np.fft.rfft(reference[:length], size))
    correlation = np.fft.irfft(spectrum)
    lags = np.concatenate([np.arange(reach), np.arange(-reach, 0)])
    return int(lags[np.argmax(correlation[lags])])
