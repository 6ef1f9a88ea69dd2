import random
import struct
import sys
from collections import Counter
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

# `benchmarks` is not part of the package, so it is found from the repository.
sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.data import pcm, scores, tiers, tones, tracks

mido = pytest.importorskip("mido")

from benchmarks.data import arrange, render  # noqa: E402  (they need mido)


def tone(seconds: float, level_db: float) -> pcm.Samples:
    """A sine on both channels whose power is `level_db`."""
    time_s = np.arange(round(seconds * pcm.SAMPLE_RATE)) / pcm.SAMPLE_RATE
    amplitude = np.sqrt(2) * 10 ** (level_db / 20)
    wave = amplitude * np.sin(2 * np.pi * 1000 * time_s)
    return np.stack([wave, wave], axis=1).astype(np.float32)


def chord_piece(channels: int = 3, notes: int = 20) -> arrange.Piece:
    """Equal notes of velocity 90 on some channels, one a second."""
    piece = []
    for beat in range(notes):
        for channel in range(channels):
            note = {"channel": channel, "note": 48 + 12 * channel}
            piece.append(arrange.Event(beat, mido.Message("note_on", velocity=90, **note)))
        for channel in range(channels):
            note = {"channel": channel, "note": 48 + 12 * channel}
            piece.append(arrange.Event(beat + 0.9, mido.Message("note_off", **note)))
    return piece


class TestGatedRms:
    def test_a_steady_tone_has_its_own_level(self) -> None:
        assert pcm.gated_rms_db(tone(4, -20)) == pytest.approx(-20, abs=0.02)

    def test_silence_and_quiet_passages_do_not_count(self) -> None:
        audio = np.concatenate(
            [tone(4, -20), tone(4, -45), np.zeros((4 * pcm.SAMPLE_RATE, 2), np.float32)]
        )
        assert pcm.gated_rms_db(audio) == pytest.approx(-20, abs=0.02)

    def test_one_silent_channel_takes_3_db(self) -> None:
        audio = tone(4, -20)
        audio[:, 1] = 0
        assert pcm.gated_rms_db(audio) == pytest.approx(-23.01, abs=0.02)

    @pytest.mark.parametrize("frames", [0, 100, pcm.SAMPLE_RATE])
    def test_silence_of_any_length_is_at_the_gate(self, frames: int) -> None:
        assert pcm.gated_rms_db(np.zeros((frames, 2), np.float32)) == pcm.ABSOLUTE_GATE_DB

    def test_audio_shorter_than_a_block_is_measured_whole(self) -> None:
        assert pcm.gated_rms_db(tone(0.1, -12)) == pytest.approx(-12, abs=0.05)


class TestFlatSet:
    def test_what_is_written_reads_back_in_order(self, tmp_path: Path) -> None:
        levels = [-10, -20, -30, -40, -50]
        items = [(f"tone{level}", lambda level=level: tone(0.5, level)) for level in levels]
        pcm.write_set(tmp_path, "tones", items, jobs=3)
        samples, entries = pcm.read_set(tmp_path, "tones")
        assert [entry["name"] for entry in entries] == [f"tone{level}" for level in levels]
        assert len(samples) == sum(entry["frames"] for entry in entries)
        for level, entry in zip(levels, entries, strict=True):
            cut = samples[entry["start"] : entry["start"] + entry["frames"]]
            np.testing.assert_array_equal(cut, pcm.to_int16(tone(0.5, level)))
            assert entry["rms_db"] == pytest.approx(level, abs=0.05)

    def test_loud_audio_is_turned_down_and_empty_audio_left_out(self, tmp_path: Path) -> None:
        items = [("loud", lambda: 4 * tone(0.5, -6)), ("empty", lambda: tone(0, 0))]
        (entry,) = pcm.write_set(tmp_path, "set", items)
        samples, _ = pcm.read_set(tmp_path, "set")
        assert entry["name"] == "loud"
        assert np.abs(samples.astype(int)).max() == pytest.approx(pcm.FULL_SCALE, abs=1)
        assert entry["rms_db"] == pytest.approx(-3.01, abs=0.05)

    def test_a_failed_run_leaves_the_old_set(self, tmp_path: Path) -> None:
        pcm.write_set(tmp_path, "set", [("good", lambda: tone(0.5, -6))])
        before = (tmp_path / "set.s16").read_bytes()

        def fail() -> pcm.Samples:
            raise OSError("disk on fire")

        with pytest.raises(OSError, match="disk on fire"):
            pcm.write_set(tmp_path, "set", [("bad", fail)])
        assert (tmp_path / "set.s16").read_bytes() == before


class TestTrackList:
    def test_the_sets_share_no_package(self) -> None:
        packages = {which: {t.package for t in tracks.read_tracks(which)} for which in tracks.SETS}
        assert not packages["train"] & packages["val"]
        assert not packages["train"] & packages["test"]
        assert not packages["val"] & packages["test"]

    def test_names_are_unique(self) -> None:
        names = Counter(track.name for track in tracks.read_tracks())
        assert [name for name, count in names.items() if count > 1] == []

    def test_every_track_belongs_to_a_known_set(self) -> None:
        assert {track.set for track in tracks.read_tracks()} == set(tracks.SETS)

    def test_a_track_in_an_archive_names_its_member(self) -> None:
        path = PurePosixPath("usr/share/base/0music.pk3.d/music/a.ogg")
        track = tracks.Track("ufoai-music", path, 44_100, 1.0, "train")
        assert track.archive == (PurePosixPath("usr/share/base/0music.pk3"), "music/a.ogg")

    def test_a_song_is_summed_with_its_guitar_track(self, tmp_path: Path) -> None:
        path = PurePosixPath("songs/band/tune/song.ogg")
        track = tracks.Track("pack", path, 44_100, 1.0, "train")
        song = tmp_path / "packages/pack" / path
        song.parent.mkdir(parents=True)
        song.touch()
        assert track.stems(tmp_path) == [song]
        song.with_name("guitar.ogg").touch()
        assert track.stems(tmp_path) == [song, song.with_name("guitar.ogg")]

    def test_every_package_has_its_licence_listed(self) -> None:
        listed = tiers.read_licences()
        assert {track.package for track in tracks.read_tracks()} <= set(listed)
        assert set(render.SOUNDFONTS) <= set(listed)
        assert all(listed.values())


class TestWad:
    def test_lumps_are_listed_with_their_content(self) -> None:
        lumps = [(b"D_E1M1", b"MThd music"), (b"PLAYPAL", b"colours")]
        body = b"".join(content for _, content in lumps)
        directory, offset = b"", 12
        for name, content in lumps:
            directory += struct.pack("<ii8s", offset, len(content), name)
            offset += len(content)
        wad = struct.pack("<4sii", b"IWAD", len(lumps), offset) + body + directory
        assert list(scores.wad_lumps(wad)) == [(name.decode(), content) for name, content in lumps]

    def test_another_file_is_refused(self) -> None:
        with pytest.raises(ValueError, match="not a WAD file"):
            list(scores.wad_lumps(b"MThd" + bytes(12)))


class TestArrange:
    def test_a_piece_survives_saving_to_a_millisecond(self, tmp_path: Path) -> None:
        piece = chord_piece()
        arrange.save(piece, tmp_path / "piece.mid")
        loaded = arrange.load(tmp_path / "piece.mid")
        assert [event.message for event in loaded] == [event.message for event in piece]
        for before, after in zip(piece, loaded, strict=True):
            assert after.time_s == pytest.approx(before.time_s, abs=1e-3)

    def test_an_excerpt_ends_every_note_it_starts(self) -> None:
        cut = arrange.excerpt(chord_piece(), start_s=4.5, length_s=6.0)
        assert all(0 <= event.time_s <= 6.0 for event in cut)
        sounding: Counter[tuple[int, int]] = Counter()
        for event in cut:
            sounding[event.message.channel, event.message.note] += 1 if event.is_onset else -1
        assert set(sounding.values()) == {0}

    def test_an_excerpt_keeps_the_settings_made_before_it(self) -> None:
        setting = mido.Message("program_change", channel=0, program=40)
        cut = arrange.excerpt([arrange.Event(0.0, setting), *chord_piece()], 10.0, 5.0)
        assert cut[0] == arrange.Event(0.0, setting)

    def test_a_solo_has_one_channel_in_the_range_of_its_instrument(self) -> None:
        piece = chord_piece()
        flute = arrange.INSTRUMENTS["flute"]
        solo = arrange.reorchestrate(piece, {0: flute})
        notes = [event.message.note for event in solo if event.is_onset]
        assert {event.message.channel for event in solo} == {0}
        assert all(flute.low <= note <= flute.high for note in notes)
        assert {note % 12 for note in notes} == {0}

    def test_drums_are_no_soloists(self) -> None:
        piece = [
            arrange.Event(event.time_s, event.message.copy(channel=arrange.DRUMS))
            for event in chord_piece(channels=1)
        ]
        assert arrange.melodic_channels(piece) == []

    def test_flat_dynamics_are_shaped_and_written_ones_kept(self) -> None:
        shaped = arrange.shape(chord_piece(), random.Random(1))
        assert len({event.message.velocity for event in shaped if event.is_onset}) > 10
        lively = [
            arrange.Event(e.time_s, e.message.copy(velocity=40 + 4 * int(e.time_s)))
            if e.is_onset
            else e
            for e in chord_piece()
        ]
        kept = arrange.shape(lively, random.Random(1))
        velocities = [event.message.velocity for event in kept if event.is_onset]
        assert velocities == [event.message.velocity for event in lively if event.is_onset]


class TestRenderPlan:
    PIECES = tuple(Path("midi/music21", f"piece{number}.mid") for number in range(60))

    def test_training_and_validation_share_no_piece(self) -> None:
        kept = [piece for piece in self.PIECES if render.held_out(piece)]
        training = [piece for piece in self.PIECES if not render.held_out(piece)]
        assert kept
        planned = {plan.piece for plan in render.plan_training(training)}
        assert not planned & {plan.piece for plan in render.plan_validation(kept)}

    def test_the_plan_of_a_piece_does_not_depend_on_the_others(self) -> None:
        alone = list(render.plan_training(self.PIECES[7:8]))
        together = [
            plan for plan in render.plan_training(self.PIECES) if plan.piece == self.PIECES[7]
        ]
        assert alone == together

    def test_training_never_hears_the_sound_font_of_the_test(self) -> None:
        assert "timgm6mb-soundfont" not in render.SOUNDFONTS


class TestTiers:
    def test_the_middle_is_centred(self) -> None:
        audio = np.arange(10 * pcm.SAMPLE_RATE, dtype=np.float32).repeat(2).reshape(-1, 2)
        start, cut = tiers.middle(audio, 4)
        assert start == 3 * pcm.SAMPLE_RATE
        assert len(cut) == 4 * pcm.SAMPLE_RATE
        assert cut[0, 0] == start

    def test_a_short_track_is_taken_whole(self) -> None:
        start, cut = tiers.middle(tone(3, -20), 4)
        assert start == 0
        assert len(cut) == 3 * pcm.SAMPLE_RATE

    @pytest.mark.parametrize(("bits", "subtype"), [(16, "int16"), (24, "int32")])
    def test_integer_samples_are_written_bit_for_bit(
        self, tmp_path: Path, bits: int, subtype: str
    ) -> None:
        import soundfile  # noqa: PLC0415

        top = 2 ** (bits - 1)
        integers = np.random.default_rng(1).integers(-top, top, (1000, 2))
        tiers.write_wav(tmp_path / "clip.wav", (integers / top).astype(np.float32), bits)
        read, _ = soundfile.read(tmp_path / "clip.wav", dtype=subtype)
        np.testing.assert_array_equal(read.astype(np.int64) >> (8 if bits == 24 else 0), integers)


@pytest.mark.parametrize("kind", tones.KINDS)
def test_synthetic_tracks_are_whole_stereo_audible_and_the_same_on_every_call(kind: str) -> None:
    makers = dict(tones.items())
    track = makers[f"{kind}-5"]()
    assert track.shape == (tones.TRACK_S * pcm.SAMPLE_RATE, 2)
    assert np.isfinite(track).all()
    assert 0.09 < np.abs(track).max() < 0.9
    assert np.array_equal(track, makers[f"{kind}-5"]())
    assert not np.array_equal(track, makers[f"{kind}-6"]())


def test_the_synthetic_set_has_each_of_its_tracks_once() -> None:
    names = [name for name, _ in tones.items()]
    assert len(names) == len(set(names)) == len(tones.KINDS) * tones.TRACKS
