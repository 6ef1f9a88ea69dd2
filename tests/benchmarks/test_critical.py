import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

# `benchmarks` is not part of the package, so it is found from the repository.
sys.path.insert(0, str(Path(__file__).parents[2]))

pytest.importorskip("mido")

from benchmarks.data import critical, drums, fetch, pcm, songs, tiers

RATE = pcm.SAMPLE_RATE


def click(seconds: float = 0.05, seed: int = 0) -> pcm.Samples:
    """Decaying noise on both channels."""
    n = round(seconds * RATE)
    sound = np.random.default_rng(seed).standard_normal(n) * np.exp(-np.arange(n) / 200)
    return np.repeat((0.3 * sound).astype(np.float32)[:, None], 2, 1)


SAMPLES = {
    name: click(seed=i) for i, name in enumerate(("kick 1", "snare", "hat closed", "tom", "crash"))
}


def onsets(audio: pcm.Samples) -> int:
    """How often the level rises by 12 dB within 3 ms."""
    power = np.square(audio[: len(audio) // 128 * 128].reshape(-1, 256)).mean(1) + 1e-9
    return int((power[1:] > 16 * power[:-1]).sum())


class TestSetsApart:
    def test_songs_kits_and_sound_fonts_of_the_sets_are_disjoint(self) -> None:
        for of_set in (songs.SONGS, drums.KITS, drums.SOUNDFONTS):
            names = [name for which in ("train", "val", "test") for name in of_set[which]]
            assert len(names) == len(set(names))

    def test_applause_of_the_tiers_is_none_of_training(self) -> None:
        numbers = critical.ATTACKS["val"]["applause"] + critical.ATTACKS["test"]["applause"]
        assert min(numbers) >= drums.APPLAUSES
        assert len(set(numbers)) == len(numbers)

    def test_what_plays_and_sings_in_tiers_has_a_licence(self) -> None:
        listed = tiers.read_licences()
        made = {songs.SOURCE, drums.PACKAGE, "synthetic", *critical.RECORDINGS.values()}
        made |= {package for packages in drums.SOUNDFONTS.values() for package in packages}
        assert made <= set(listed)

    def test_everything_that_drums_play_is_fetched(self) -> None:
        played = {package for packages in drums.SOUNDFONTS.values() for package in packages}
        assert played | {drums.PACKAGE} <= set(fetch.MORE_DEBS["drums"])


class TestDrums:
    @pytest.mark.parametrize("make", [drums.pattern, drums.strokes])
    def test_the_same_seed_gives_the_same_strokes_at_full_length(self, make) -> None:
        tracks = [make(SAMPLES, drums.seeded("kit", n), 5.0) for n in (0, 0, 1)]
        assert tracks[0].shape == (5 * RATE, 2)
        np.testing.assert_array_equal(tracks[0], tracks[1])
        assert np.abs(tracks[0] - tracks[2]).max() > 0.01
        assert onsets(tracks[0]) >= 5

    def test_applause_is_dense_with_attacks_and_always_the_same(self) -> None:
        first, again = drums.applause_track(1000, 3.0), drums.applause_track(1000, 3.0)
        np.testing.assert_array_equal(first, again)
        assert np.abs(first).max() <= 1
        assert onsets(first) >= 5

    def test_a_sample_is_added_where_it_belongs_and_cut_at_the_end(self) -> None:
        track = np.zeros((1000, 2), np.float32)
        drums.add(track, np.ones((500, 2), np.float32), 600 / RATE, 0.5, -1.0)
        assert not track[:600].any()
        assert (track[600:, 0] == 0.5).all()
        assert not track[:, 1].any()

    def test_percussion_plays_its_note_alone_and_ends_all_of_them(self) -> None:
        piece = drums.percussion(85, drums.seeded("castanets", 0), 5.0)
        notes = [event.message for event in piece]
        assert {message.note for message in notes} <= {85, 86}
        assert {message.channel for message in notes} == {9}
        assert len([m for m in notes if m.type == "note_on"]) * 2 == len(notes)


class TestSongs:
    def test_pauses_are_cut_out(self) -> None:
        tone = np.sin(np.arange(RATE) * 0.1)[:, None].repeat(2, 1).astype(np.float32)
        rest = np.zeros((5 * RATE, 2), np.float32)
        kept = songs.sounding(np.concatenate([rest, tone, rest, tone, rest]))
        assert 2 * RATE <= len(kept) <= 4 * RATE
        assert np.square(kept, dtype=np.float64).sum() == pytest.approx(
            2 * np.square(tone, dtype=np.float64).sum(), rel=1e-3
        )

    def test_vocals_are_raised_in_the_mix(self, tmp_path: Path) -> None:
        for part, at in (("vocals", 0), ("band", 1)):
            audio = np.zeros((RATE, 2))
            audio[:, at] = 0.1 * np.sin(np.arange(RATE) * 0.1)
            soundfile.write(tmp_path / f"a.{part}.wav", audio, RATE)
        even, raised = (songs.mixed(tmp_path, "a", gain_db) for gain_db in (0.0, 6.0))
        ratios = [np.std(mix[:, 0]) / np.std(mix[:, 1]) for mix in (even, raised)]
        assert ratios[0] == pytest.approx(1, rel=1e-3)
        assert ratios[1] == pytest.approx(10 ** (6 / 20), rel=1e-3)

    def test_a_song_without_its_stems_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"0 files lithium\.vocals"):
            songs.vocals_alone(tmp_path, "lithium")


class TestTiers:
    def test_voices_need_a_folder(self) -> None:
        assert not list(tiers.voices(None))

    def test_attacks_and_voices_are_named_by_package(self, tmp_path: Path) -> None:
        names = [source.name for source in (*tiers.voices(tmp_path), *tiers.attacks(tmp_path))]
        assert len(names) == len(set(names))
        assert {name.partition("/")[0] for name in names} <= set(tiers.read_licences())
