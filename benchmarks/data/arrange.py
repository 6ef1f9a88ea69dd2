"""Rewrite MIDI pieces for rendering: excerpts, solos, small ensembles, dynamics.

A piece is a list of events in seconds, so tempo changes need no care afterwards.
"""

import math
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, pstdev

import mido  # type: ignore[import-untyped]

DRUMS = 9
TICKS_PER_SECOND = 1000
TEMPO = 500_000  # µs a beat, with TICKS_PER_SECOND / 2 ticks a beat
TAIL_S = 1.5

PROGRAM = "program_change"
VOLUME, PAN, EXPRESSION = 7, 10, 11


@dataclass(frozen=True)
class Instrument:
    """A General MIDI program (from 0), and the notes between which its median may lie."""

    name: str
    program: int
    low: int
    high: int


INSTRUMENTS = {
    instrument.name: instrument
    for instrument in (
        Instrument("piano", 0, 48, 72),
        Instrument("electric-piano", 4, 48, 72),
        Instrument("harpsichord", 6, 50, 72),
        Instrument("celesta", 8, 66, 84),
        Instrument("music-box", 10, 66, 84),
        Instrument("vibraphone", 11, 57, 74),
        Instrument("marimba", 12, 50, 70),
        Instrument("organ", 19, 45, 70),
        Instrument("accordion", 21, 55, 74),
        Instrument("nylon-guitar", 24, 48, 66),
        Instrument("steel-guitar", 25, 48, 66),
        Instrument("jazz-guitar", 26, 48, 66),
        Instrument("overdriven-guitar", 29, 45, 64),
        Instrument("acoustic-bass", 32, 30, 44),
        Instrument("electric-bass", 33, 30, 44),
        Instrument("violin", 40, 62, 82),
        Instrument("viola", 41, 52, 70),
        Instrument("cello", 42, 40, 57),
        Instrument("harp", 46, 50, 72),
        Instrument("strings", 48, 48, 72),
        Instrument("slow-strings", 49, 48, 72),
        Instrument("choir", 52, 50, 70),
        Instrument("voice", 53, 52, 70),
        Instrument("trumpet", 56, 58, 76),
        Instrument("trombone", 57, 42, 60),
        Instrument("horn", 60, 45, 64),
        Instrument("brass", 61, 48, 68),
        Instrument("saxophone", 65, 54, 72),
        Instrument("oboe", 68, 62, 80),
        Instrument("bassoon", 70, 38, 56),
        Instrument("clarinet", 71, 54, 76),
        Instrument("flute", 73, 64, 86),
        Instrument("recorder", 74, 68, 88),
        Instrument("pan-flute", 75, 64, 82),
        Instrument("square-lead", 80, 50, 76),
        Instrument("warm-pad", 89, 45, 70),
        Instrument("choir-pad", 91, 48, 70),
        Instrument("sweep-pad", 95, 45, 70),
        Instrument("sitar", 104, 50, 66),
    )
}


@dataclass(frozen=True)
class Event:
    """A channel message at a time in seconds."""

    time_s: float
    message: mido.Message

    @property
    def is_onset(self) -> bool:
        """Whether a note starts here; a note-on of velocity 0 ends one."""
        return bool(self.message.type == "note_on" and self.message.velocity > 0)

    @property
    def is_note(self) -> bool:
        """Whether a note starts or ends here."""
        return self.message.type in ("note_on", "note_off")


Piece = list[Event]


def load(path: Path) -> Piece:
    """Channel messages of a MIDI file, all tracks merged, in order."""
    events, now = [], 0.0
    for message in mido.MidiFile(path, clip=True):
        now += message.time
        if not message.is_meta and hasattr(message, "channel"):
            events.append(Event(now, message.copy(time=0)))
    return events


def save(piece: Piece, path: Path) -> None:
    """Write the piece as one track; `load` gives it back to a millisecond."""
    midi = mido.MidiFile(ticks_per_beat=TICKS_PER_SECOND // 2)
    track = midi.add_track()
    track.append(mido.MetaMessage("set_tempo", tempo=TEMPO))
    last = 0
    for event in piece:
        tick = round(event.time_s * TICKS_PER_SECOND)
        track.append(event.message.copy(time=tick - last))
        last = tick
    track.append(mido.MetaMessage("end_of_track", time=round(TAIL_S * TICKS_PER_SECOND)))
    midi.save(path)


def duration_s(piece: Piece) -> float:
    """Time from the first onset to the last event."""
    onsets = [event.time_s for event in piece if event.is_onset]
    return piece[-1].time_s - onsets[0] if onsets else 0.0


def excerpt(piece: Piece, start_s: float, length_s: float) -> Piece:
    """Keep the notes that start in the window, moved to time 0.

    Settings made earlier hold; notes still sounding end with the window.
    """
    before, inside = [], []
    sounding: Counter[tuple[int, int]] = Counter()
    end_s = start_s + length_s
    for event in piece:
        if event.time_s >= end_s:
            break
        if event.time_s < start_s:
            if not event.is_note:
                before.append(Event(0.0, event.message))
            continue
        if event.is_note:
            key = event.message.channel, event.message.note
            if not event.is_onset and not sounding[key]:
                continue
            sounding[key] += 1 if event.is_onset else -1
        inside.append(Event(event.time_s - start_s, event.message))
    ends = [
        Event(length_s, mido.Message("note_off", channel=channel, note=note))
        for (channel, note), count in sounding.items()
        for _ in range(count)
    ]
    return before + inside + ends


def busiest_window(piece: Piece, length_s: float) -> float:
    """Where the window with the most onsets starts; the start of the music if that is as good."""
    onsets = [event.time_s for event in piece if event.is_onset]
    last = max(onsets[0], duration_s(piece) + onsets[0] - length_s)
    starts = [onsets[0] + step * (last - onsets[0]) / 4 for step in range(5)]
    return max(starts, key=lambda s: sum(s <= onset < s + length_s for onset in onsets))


def melodic_channels(piece: Piece) -> list[int]:
    """Channels other than the drums with notes, the busiest first."""
    notes = Counter(e.message.channel for e in piece if e.is_onset and e.message.channel != DRUMS)
    return [channel for channel, count in notes.most_common() if count >= 8]


def reorchestrate(piece: Piece, players: dict[int, Instrument]) -> Piece:
    """Only the channels of `players`, each on its instrument, moved by octaves into its range."""
    pitches = defaultdict(list)
    for event in piece:
        if event.is_onset and event.message.channel in players:
            pitches[event.message.channel].append(event.message.note)
    shift = {}
    arranged = []
    for channel, player in players.items():
        centre = median(pitches[channel]) if pitches[channel] else player.low
        octaves = 0
        while centre + 12 * octaves < player.low:
            octaves += 1
        while centre + 12 * octaves > player.high:
            octaves -= 1
        shift[channel] = 12 * octaves
        arranged.append(Event(0.0, mido.Message(PROGRAM, channel=channel, program=player.program)))
    for event in piece:
        message = event.message
        # Bank selects (controllers 0 and 32) would leave the bank of General MIDI.
        if message.channel not in players or message.type == PROGRAM:
            continue
        if message.type == "control_change" and message.control in (0, 32, VOLUME):
            continue
        if event.is_note:
            message = message.copy(note=min(127, max(0, message.note + shift[message.channel])))
        arranged.append(Event(event.time_s, message))
    return arranged


def shape(piece: Piece, rng: random.Random) -> Piece:
    """Piece with dynamics where notes are all equally loud, and its players spread in stereo.

    Engraved music has neither: every velocity is 90 and every player stands in the middle.
    """
    velocities = defaultdict(list)
    for event in piece:
        if event.is_onset:
            velocities[event.message.channel].append(event.message.velocity)
    flat = {channel for channel, values in velocities.items() if pstdev(values) < 3}
    phrase_s = {channel: rng.uniform(4, 11) for channel in sorted(flat)}
    phase = {channel: rng.uniform(0, 2 * math.pi) for channel in sorted(flat)}
    level = rng.uniform(58, 96)
    shaped = []
    if not any(e.message.type == "control_change" and e.message.control == PAN for e in piece):
        width = rng.uniform(0, 55)
        shaped = [
            Event(0.0, mido.Message("control_change", channel=channel, control=PAN, value=value))
            for channel in sorted(velocities)
            for value in [round(64 + rng.uniform(-width, width))]
        ]
    for event in piece:
        message = event.message
        if event.is_onset and message.channel in flat:
            arc = math.sin(
                2 * math.pi * event.time_s / phrase_s[message.channel] + phase[message.channel]
            )
            velocity = level + 20 * arc + rng.gauss(0, 7)
            message = message.copy(velocity=round(min(122, max(24, velocity))))
        shaped.append(Event(event.time_s, message))
    return shaped


def players_for(piece: Piece, names: Sequence[str]) -> dict[int, Instrument]:
    """Busiest channels, one to each named instrument; fewer if the piece has fewer."""
    return {
        channel: INSTRUMENTS[name]
        for channel, name in zip(melodic_channels(piece), names, strict=False)
    }
