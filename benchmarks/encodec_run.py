"""EnCodec's work on a minute of sound: `python -m benchmarks.encodec_run compress|restore FROM TO`.

With random weights, which take as long as trained ones: nothing is downloaded. The published 48 kHz
stereo network at 6 kbps, without its further entropy coding, on one thread. Needs the package `encodec`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import soundfile
import torch
from encodec import EncodecModel
from encodec.utils import convert_audio

SECONDS = 60


def compress(source: Path, target: Path, model: EncodecModel) -> None:
    """Write the codes of the first minute of ``source``."""
    with soundfile.SoundFile(source) as file:
        sound = file.read(SECONDS * file.samplerate, dtype="float32", always_2d=True)
        sound = convert_audio(
            torch.from_numpy(sound.T), file.samplerate, model.sample_rate, model.channels
        )
    torch.save(model.encode(sound[None]), target)


def restore(source: Path, target: Path, model: EncodecModel) -> None:
    """Write the sound of codes."""
    sound = model.decode(torch.load(source))[0]
    soundfile.write(target, sound.numpy().T, model.sample_rate, "PCM_16", format="FLAC")


def main() -> None:
    task, source, target = sys.argv[1:]
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = EncodecModel.encodec_model_48khz(pretrained=False).eval()
    model.set_target_bandwidth(6.0)
    with torch.inference_mode():
        {"compress": compress, "restore": restore}[task](Path(source), Path(target), model)


if __name__ == "__main__":
    main()
