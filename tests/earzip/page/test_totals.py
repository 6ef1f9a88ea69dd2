from __future__ import annotations

import pytest

from earzip.page.facts import library_totals, rate_histogram
from tests.earzip.page.records import facts


def track(seconds: float, archive: int, pictures: int, source: int, quality: str = "medium"):
    return facts(
        duration_s=seconds,
        archive_bytes=archive,
        picture_bytes=pictures,
        quality=quality,
        source=facts().source | {"n_bytes": source},
    )


def test_totals_are_sums_and_pooled_ratios():
    totals = library_totals(
        [track(100, 300_000, 100_000, 9_000_000), track(300, 400_000, 0, 5_000_000, "high")]
    )
    assert totals["n_tracks"] == 2
    assert totals["duration_s"] == 400
    assert (totals["archive_bytes"], totals["bare_bytes"]) == (700_000, 600_000)
    assert totals["source_ratio"] == pytest.approx(20)
    assert totals["wav_ratio"] == pytest.approx((2 * 44 + 400 * 176_400) / 600_000)
    assert totals["kbps"] == pytest.approx(12)
    assert (totals["shortest_s"], totals["median_s"], totals["longest_s"]) == (100, 200, 300)
    assert totals["qualities"] == [("mini high", 1), ("mini medium", 1)]


def test_a_picture_that_archives_share_counts_once():
    tracks = [
        facts(archive_bytes=1000, picture_bytes=0, shared_pictures={"A/x": 500, f"A/{i}": 10})
        for i in range(3)
    ]
    totals = library_totals(tracks)
    assert (totals["archive_bytes"], totals["bare_bytes"]) == (3530, 3000)


def test_no_tracks_have_no_ratios():
    totals = library_totals([])
    assert totals["n_tracks"] == 0
    assert totals["source_ratio"] is totals["wav_ratio"] is totals["kbps"] is None
    assert totals["histogram"] is None


def test_every_rate_is_in_one_bin():
    rates = [5 + i / 7 for i in range(100)]
    bins = rate_histogram(rates)
    assert sum(bins["counts"]) == 100
    assert len(bins["counts"]) <= 24
    for i, n in enumerate(bins["counts"]):
        low = bins["first"] + i * bins["step"]
        assert n == sum(low <= rate < low + bins["step"] for rate in rates)


def test_a_rate_far_beyond_the_others_does_not_squeeze_them():
    bins = rate_histogram([10 + i / 50 for i in range(50)] + [900.0])
    assert bins["open_end"]
    assert sum(bins["counts"]) == 51
    assert bins["first"] + bins["step"] * len(bins["counts"]) < 50


def test_equal_rates_make_one_bin():
    assert rate_histogram([11.0] * 5)["counts"] == [5]


def test_tracks_under_a_second_are_not_among_the_rates():
    assert library_totals([track(0.5, 3000, 0, 90_000)])["histogram"] is None
