import time

import pytest

from burnish.recipes.demo.stopwatch import Stopwatch


def test_a_stage_that_comes_again_adds_up_in_its_first_place() -> None:
    watch = Stopwatch()
    for name in ("one", "two", "one"):
        with watch.stage(name):
            time.sleep(0.02)
    facts = watch.facts()
    assert list(watch.seconds) == [stage["name"] for stage in facts["stages"]] == ["one", "two"]
    assert watch.seconds["one"] >= 0.04
    assert watch.seconds["two"] >= 0.02
    assert facts["seconds"] >= 0.0


def test_a_stage_that_fails_is_counted() -> None:
    watch = Stopwatch()
    with pytest.raises(ValueError, match="stop"), watch.stage("one"):
        raise ValueError("stop")
    assert "one" in watch.seconds


def test_peak_memory_grows_with_what_is_held() -> None:
    watch = Stopwatch()
    before = watch.facts()["peak_memory_mb"]
    held = bytearray(b"x" * (300 * 2**20))
    after = watch.facts()["peak_memory_mb"]
    assert after >= 300
    assert after >= before
    del held
