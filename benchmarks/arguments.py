"""The command line of the benchmarks that compare codecs: what to code, how, and where results are."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.coders import Coder, EarzipCoder, FfmpegCoder, OpusCoder
from benchmarks.further_coders import AvOpusCoder, HeAacCoder
from earzip.errors import EarzipError, ModelNotFoundError
from earzip.models.spec import ModelSpec
from earzip.models.store import find_model
from earzip.options import DEFAULT_MODEL, QUALITIES

LADDERS_KBPS = {
    "opus": (10, 12, 16, 20, 24, 32, 48, 64, 96),
    "aac": (24, 32, 48, 64, 96, 128),
    "vorbis": (45, 64, 80, 96, 128),  # libvorbis takes no less than 45 for 44.1 kHz stereo
    "mp3": (32, 48, 64, 96, 128),
    "opus-av": (10, 12, 16, 20, 24, 32, 48, 64, 96),
    "he-aac": (16, 24, 32, 48, 64),
}
CODECS = ("opus", "aac", "vorbis", "mp3", "earzip")
"""Those that are run where none are chosen."""
_ALL_CODECS = (*LADDERS_KBPS, "earzip")
TIERS = ("T1", "T2", "T3", "T4", "T5", "T6")
_DEFAULT_TIERS = TIERS[:4]  # of the published figures


@dataclass(frozen=True)
class Arguments:
    """What was asked for."""

    root: Path
    cache: Path
    out: Path
    tiers: list[str]
    models: list[ModelSpec]
    wanted: list[Coder]
    """To be run, in this order."""
    known: list[Coder]
    """Every setting that a report may have, in the order of its rows."""
    perceptual: bool
    """Whether perceptual measures are taken as well."""


def some_of(allowed: Iterable[str]) -> Callable[[str], list[str]]:
    """Return a type of argument: some of `allowed`, separated by commas."""
    known = list(allowed)

    def parse(text: str) -> list[str]:
        words = text.split(",")
        for word in words:
            if word not in known:
                raise argparse.ArgumentTypeError(f"{word!r} is none of {', '.join(known)}")
        return words

    return parse


def parse_arguments(
    description: str | None, codecs: Sequence[str], argv: Sequence[str] | None = None
) -> Arguments:
    """Return what to code, and where to keep the results.

    `description` is for the help, `codecs` are those that are run without `--codecs`. Exits with 2 where
    a codec, rate, quality, tier or model is none.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, required=True, help="folder that holds tiers/")
    parser.add_argument("--cache", type=Path, required=True, help="JSON lines file of results")
    parser.add_argument("--out", type=Path, required=True, help="folder for the report")
    parser.add_argument(
        "--codecs",
        type=some_of(_ALL_CODECS),
        default=list(codecs),
        help=f"run in this order; some of {','.join(_ALL_CODECS)}  [default: {','.join(codecs)}]",
    )
    ladder = sorted({kbps for kbps_of_codec in LADDERS_KBPS.values() for kbps in kbps_of_codec})
    parser.add_argument(
        "--bitrates",
        type=some_of(map(str, ladder)),
        help="of all codecs but earzip, in this order; a codec leaves out those it has not: "
        + "; ".join(f"{codec} {_listed(rates)}" for codec, rates in LADDERS_KBPS.items())
        + "  [default: all]",
    )
    parser.add_argument(
        "--qualities",
        type=some_of(QUALITIES),
        default=list(QUALITIES),
        help=f"of earzip, in this order  [default: {','.join(QUALITIES)}]",
    )
    parser.add_argument(
        "--model",
        dest="models",
        metavar="MODEL",
        action="append",
        help=f"name or .json file; may be repeated  [default: {DEFAULT_MODEL}]",
    )
    parser.add_argument(
        "--tiers",
        type=some_of((*TIERS, "val")),
        default=list(_DEFAULT_TIERS),
        help="val is for choosing models, the rest for judging one  [default: T1,T2,T3,T4]",
    )
    parser.add_argument(
        "--perceptual",
        action="store_true",
        help="take perceptual measures as well, of what the cache has without them too: Zimtohrli, "
        "2f-model, noise-to-mask ratio, tonality, pre-echo",
    )
    parsed = parser.parse_args(argv)
    try:
        specs = _find_models(parsed.models or [DEFAULT_MODEL], needed="earzip" in parsed.codecs)
    except EarzipError as error:
        parser.error(str(error))
    names = [spec.name for spec in specs]
    if len(set(names)) < len(names):
        parser.error(f"--model: two of {_listed(names)} have one name, and reports go by names")
    wanted = [
        coder
        for codec in parsed.codecs
        for coder in _coders(codec, parsed.bitrates, parsed.qualities, specs)
    ]
    if not wanted:
        parser.error(f"{_listed(parsed.codecs)} at {_listed(parsed.bitrates)} kbps: not measured")
    known = [coder for codec in _ALL_CODECS for coder in _coders(codec, None, QUALITIES, specs)]
    return Arguments(
        root=parsed.root,
        cache=parsed.cache,
        out=parsed.out,
        tiers=parsed.tiers,
        models=specs,
        wanted=wanted,
        known=known,
        perceptual=parsed.perceptual,
    )


def _find_models(names: Sequence[str], needed: bool) -> list[ModelSpec]:
    """Return the models; without those that are not installed where they are not `needed`."""
    specs = []
    for name in names:
        try:
            specs.append(find_model(name))
        except ModelNotFoundError:
            if needed:
                raise
    return specs


def let_archives_find(specs: Iterable[ModelSpec]) -> None:
    """Add the models' folders to those that archives' models are looked for in."""
    folders = [str(spec.path.parent) for spec in specs]
    folders += filter(None, [os.environ.get("EARZIP_MODELS")])
    os.environ["EARZIP_MODELS"] = os.pathsep.join(folders)


def _coders(
    codec: str,
    bitrates: Sequence[str] | None,
    qualities: Sequence[str],
    specs: Sequence[ModelSpec],
) -> list[Coder]:
    """Return a codec at each of the rates or qualities that it has; all rates where none are given."""
    if codec == "earzip":
        return [EarzipCoder(spec, quality) for spec in specs for quality in qualities]
    ladder = LADDERS_KBPS[codec]
    chosen = ladder if bitrates is None else [kbps for kbps in map(int, bitrates) if kbps in ladder]
    return [_coder(codec, kbps) for kbps in chosen]


def _coder(codec: str, kbps: int) -> Coder:
    match codec:
        case "opus":
            return OpusCoder(kbps)
        case "opus-av":
            return AvOpusCoder(kbps)
        case "he-aac":
            return HeAacCoder(kbps)
        case _:
            return FfmpegCoder(codec, kbps)


def _listed(words: Iterable[object]) -> str:
    return ",".join(map(str, words))
