from __future__ import annotations

import io
import json
import re

import numpy as np
import pytest

from earzip.errors import DamagedArchiveError, ModelNotFoundError, SourceError
from earzip.page import builder
from earzip.page.builder import AUDIO_BYTES, PAGE_BYTES, PageBuilder
from earzip.page.rows import MEASURES, Detail, TrackEntry
from earzip.page.track_view import Side, TrackView
from tests.earzip.page.records import facts

pytest.importorskip("PIL")


def entries(n: int) -> list[TrackEntry]:
    return [TrackEntry(f"{i}.earz", facts(i)) for i in range(n)]


def view(excerpt: bytes | None = None, picture_bytes: int = 11_000) -> TrackView:
    noise = np.random.default_rng(0).bytes(picture_bytes)
    side = Side(noise, bytes(600), excerpt)
    return TrackView(side, side, noise, None, 0.0, ())


@pytest.fixture
def _quick(monkeypatch):
    """Decode nothing, and find a thumbnail of 1.9 kB in every archive."""
    monkeypatch.setattr(builder, "analyse", lambda *a, **k: view())
    monkeypatch.setattr(builder, "thumbnail", lambda image: bytes(1900))

    class Reader:
        def __init__(self, *_args, **_options):
            self.picture = bytes

        def __enter__(self):
            return self

        def __exit__(self, *exc):
            pass

    monkeypatch.setattr(builder, "ArchiveReader", Reader)


def build(n: int, **options) -> tuple[PageBuilder, str]:
    page = PageBuilder(entries(n), None, **options)
    for i in page.by_need():
        page.look_at(i, lambda seconds: None)
    file = io.BytesIO()
    page.write(file, "today")
    return page, file.getvalue().decode()


@pytest.mark.usefixtures("_quick")
@pytest.mark.parametrize(
    ("n", "detail"),
    [(1, Detail.ALL_TAGS), (300, Detail.ALL_TAGS), (3000, Detail.ALL_TAGS), (20_000, Detail.BARE)],
)
def test_a_page_stays_within_its_size(n, detail):
    page, written = build(n)
    assert len(written) <= PAGE_BYTES
    assert page.detail == detail
    assert len(page.views) >= min(n, 15)
    assert page.is_full == (len(page.views) < n)
    assert len(page.covers) >= min(-(-n // 12), 200)
    if page.is_full:  # the limit is used, not only kept
        assert len(written) > 0.6 * PAGE_BYTES


@pytest.mark.usefixtures("_quick")
def test_of_many_problems_the_first_are_listed_within_the_size_and_all_counted():
    problems = [{"path": f"{i}/{'æ' * 1000}", "message": "damaged " * 99} for i in range(5000)]
    _page, written = build(300, problems=problems)
    summary = json.loads(re.search(r'id="summary">(.*?)</script>', written)[1])
    assert len(summary["problems"]) == 100
    assert summary["n_problems"] == 5000
    assert summary["problems"][0]["path"].startswith("0/æ")
    assert len(written) <= PAGE_BYTES


@pytest.mark.usefixtures("_quick")
def test_covers_are_stored_once_an_image():
    page, _ = build(24)
    assert len(page.covers) == 2
    assert [entry.cover for entry in page.entries] == [0] * 12 + [1] * 12


def test_tracks_with_low_measures_come_first_then_the_others_in_order():
    tracks = entries(5)
    for i, db in ((3, 12.0), (1, 14.0), (4, 9.0)):
        tracks[i].measures = dict.fromkeys(MEASURES, 1.0) | {"si_sdr_db": db}
    assert PageBuilder(tracks, None).by_need() == [4, 3, 1, 0, 2]


def test_once_a_view_does_not_fit_nothing_more_is_decoded(monkeypatch):
    seen = []
    monkeypatch.setattr(builder, "analyse", lambda path, *a, **k: seen.append(path) or view())
    page = PageBuilder(
        [TrackEntry("x", facts(i, cover=None)) for i in range(40)], None, limit_bytes=300_000
    )
    for i in range(40):
        page.look_at(i, lambda seconds: None)
    assert page.is_full
    assert len(seen) == len(page.views) + 1


def test_excerpts_have_a_limit_of_their_own(monkeypatch):
    size = AUDIO_BYTES // 22
    seen = []

    def analyse(*_args, with_audio, **_options):
        if not with_audio:
            return view()
        seen.append(None)
        sides = [Side(b"", b"", bytes([len(seen), i]) * size) for i in range(2)]
        return TrackView(*sides, b"", None, 0.0, ())

    monkeypatch.setattr(builder, "analyse", analyse)
    monkeypatch.setattr(builder, "sha256_of", lambda path: "")
    page = PageBuilder(
        [TrackEntry("x", facts(i, cover=None)) for i in range(6)], None, with_audio=True
    )
    for i in range(6):
        page.look_at(i, lambda seconds: None)
    assert page.n_with_audio == 4  # 8/3 of the size each, as text
    assert len(page.views) == 6
    assert len(page.excerpts) == 8


def test_equal_excerpts_are_embedded_once(monkeypatch):
    sounds = iter([b"original", b"low", b"original", b"high"])
    monkeypatch.setattr(
        builder,
        "analyse",
        lambda *a, **k: TrackView(
            *reversed([Side(b"", b"", next(sounds), -20.5) for _ in range(2)]), None, None, 0.0, ()
        ),
    )
    monkeypatch.setattr(builder, "sha256_of", lambda path: "of the archive")
    page = PageBuilder(
        [TrackEntry("x", facts(i, cover=None)) for i in range(2)], None, with_audio=True
    )
    for i in range(2):
        page.look_at(i, lambda seconds: None)
    assert len(page.excerpts) == 3
    views = [json.loads(re.search(r">(.*?)</script>", text)[1]) for text in page.views]
    originals, restored = (
        [each["sides"][side]["audio"] for each in views] for side in ("original", "restored")
    )
    assert originals[0] == originals[1]
    assert set(page.excerpts) == {*originals, *restored}
    assert views[0]["sides"]["original"]["lufs"] == -20.5
    assert views[0]["archive_sha256"] == "of the archive"


def test_what_cannot_be_decoded_is_a_problem_of_its_entry(monkeypatch):
    def fail(*_args, **_options):
        raise ModelNotFoundError("needs it; put its .json into /home/somebody/models")

    monkeypatch.setattr(builder, "analyse", fail)
    page = PageBuilder([TrackEntry("x", facts(cover=None))], None)
    page.look_at(0, lambda seconds: None)
    (entry,) = page.entries
    assert entry.problem == (
        "not decoded: needs model 'mini' with SHA-256 abababababababab…, which is not installed"
    )
    assert entry.problem_in_full.endswith("put its .json into /home/somebody/models")
    assert entry.view is None


@pytest.mark.usefixtures("_quick")
def test_a_damaged_cover_does_not_cost_the_pictures(monkeypatch):
    class Reader(builder.ArchiveReader):
        def picture(self, part):
            raise DamagedArchiveError(f"picture {part} is damaged")

    monkeypatch.setattr(builder, "ArchiveReader", Reader)
    monkeypatch.setattr(Reader, "__init__", lambda *_args, **_options: None)
    page, _ = build(1)
    (entry,) = page.entries
    assert entry.problem == "picture 0 is damaged"
    assert (entry.cover, entry.view, entry.is_undecoded) == (None, 0, False)


def test_an_original_that_cannot_be_compared_is_noted_and_done_without(monkeypatch):
    def analyse(path, original, *_args, **_options):
        if original:
            raise SourceError("decodes to 5 samples here", "o.flac")
        return view()

    class Originals:
        find = staticmethod(lambda track: "o.flac")

    monkeypatch.setattr(builder, "analyse", analyse)
    page = PageBuilder([TrackEntry("x", facts(cover=None))], None, originals=Originals())
    page.look_at(0, lambda seconds: None)
    assert page.entries[0].notes == ["o.flac: decodes to 5 samples here"]
    assert page.entries[0].view == 0


@pytest.mark.usefixtures("_quick")
def test_the_summary_says_what_is_on_the_page():
    _page, written = build(3)
    summary = json.loads(re.search(r'id="summary">(.*?)</script>', written)[1])
    assert summary["n_views"] == 3
    assert summary["totals"]["n_tracks"] == 3
    assert summary["with_originals"] is False
    assert summary["detail"] == "ALL_TAGS"
