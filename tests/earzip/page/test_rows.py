from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path

from earzip.page.rows import Detail, TrackEntry, names_below, pack_rows
from tests.earzip.page.records import facts


def unpacked(entries, detail=Detail.ALL_TAGS):
    return json.loads(zlib.decompress(base64.b64decode(pack_rows(entries, detail))))


def test_rows_hold_the_columns_of_the_table():
    columns = unpacked(
        [TrackEntry("a.earz", facts(0)), TrackEntry("b.earz", facts(1), {"mel": 0.42, **REST})]
    )
    assert columns["name"] == ["a.earz", "b.earz"]
    assert columns["title"] == [facts(0).tag("title"), facts(1).tag("title")]
    assert columns["mel"] == [None, 0.42]
    assert columns["bytes"] == [facts(0).archive_bytes, facts(1).archive_bytes]


REST = {"si_sdr_db": 13.0, "stft": 1.0, "icpc": 0.98, "ccpc": 0.98, "dbtp": 0.5}


def test_an_artist_stands_in_for_by_that_of_the_album():
    entry = TrackEntry("a", facts(tags={"albumartist": ("Various",)}))
    assert unpacked([entry])["artist"] == ["Various"]


def test_long_values_are_cut_and_say_how_long_they_were():
    columns = unpacked([TrackEntry("a", facts(tags={"lyrics": ("la " * 1000,)}))])
    (value,) = columns["tags"][0]["lyrics"]
    assert len(value) < 350
    assert value.endswith("… (3000 characters)")


def test_less_detail_leaves_out_tags_first_and_then_the_source():
    entry = TrackEntry("a", facts())
    main, bare = unpacked([entry], Detail.MAIN_TAGS), unpacked([entry], Detail.BARE)
    assert set(main["tags"][0]) < set(facts().tags)
    assert "sha256" not in main["source"][0]
    assert "tags" not in bare
    assert bare["title"] == [facts().tag("title")]


def test_text_that_no_utf_8_holds_does_not_fail():
    entry = TrackEntry("a", facts(tags={"title": ("lone \ud800 surrogate",)}), problem="no \udcff")
    assert unpacked([entry])["title"] == ["lone ? surrogate"]


def test_names_are_paths_below_the_shared_folder():
    paths = [Path("/music/a/b/1.earz"), Path("/music/a/2.earz")]
    assert list(names_below(paths).values()) == ["b/1.earz", "2.earz"]
    assert names_below(paths[:1]) == {paths[0]: "1.earz"}
    assert names_below([]) == {}
