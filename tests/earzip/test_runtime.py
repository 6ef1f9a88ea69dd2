"""What a process does for its own sake: where it looks for garbage."""

from __future__ import annotations

import gc

from earzip.runtime import garbage_left


def test_garbage_is_looked_for_again_once_a_library_is_loaded() -> None:
    assert gc.isenabled()
    with garbage_left():
        assert not gc.isenabled()
        with garbage_left():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_who_looks_for_no_garbage_goes_on_so() -> None:
    gc.disable()
    try:
        with garbage_left():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
