"""Facts of tracks that nobody has archived."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

from earzip.page.facts import CoverKey, TrackFacts

WORDS = Path(__file__).read_text().split()  # for titles that compress as badly as real ones


def facts(i: int = 0, **changes: Any) -> TrackFacts:
    """Return the facts of track ``i`` of a library of albums of 12 tracks, all tags in use."""
    chance, album = random.Random(i), random.Random(i // 12)
    digest = hashlib.sha256(str(i).encode()).hexdigest()
    title = f"{' '.join(chance.sample(WORDS, 3))} {digest[:5]}"
    artist, name = f"{album.choice(WORDS)} {digest[0]}", " ".join(album.sample(WORDS, 2))
    uuid = f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:32]}"
    duration_s = chance.uniform(100, 400)
    values: dict[str, Any] = {
        "path": Path(f"/music/{artist}/{name}/{i % 12 + 1:02} {title}.flac.earz"),
        "tags": {
            "title": (title,),
            "artist": (artist,),
            "album": (name,),
            "albumartist": (artist,),
            "date": (str(album.randint(1960, 2026)),),
            "genre": (album.choice(WORDS),),
            "tracknumber": (str(i % 12 + 1),),
            "replaygain_track_gain": (f"{chance.uniform(-12, 0):.2f} dB",),
            "musicbrainz_trackid": (uuid,),
            "comment": (" ".join(chance.sample(WORDS, 8)),),
        },
        "duration_s": duration_s,
        "kbps": chance.gauss(11.3, 1.5),
        "archive_bytes": round(chance.uniform(200_000, 600_000)),
        "picture_bytes": 120_000,
        "source": {
            "name": f"{i % 12 + 1:02} {title}.flac",
            "sha256": digest,
            "n_bytes": chance.randint(10_000_000, 60_000_000),
            "container": "FLAC",
            "codec": "PCM_16",
            "sample_rate": 44_100,
            "channels": 2,
            "bit_depth": 16,
            "lossless": True,
            "downmix": "stereo",
            "truncated": None,
        },
        "model": "mini",
        "model_sha256": "ab" * 32,
        "quality": "medium",
        "encoder": "earzip 0.1.0, torch 2.13.0, cpu float32",
        "gain_db": round(chance.uniform(-9, 3), 1),
        "check": None,
        "exact_bytes": 0,
        "cover": CoverKey(0, i // 12 * b"\1" or b"\0", 120_000),
    }
    return TrackFacts(**(values | changes))
