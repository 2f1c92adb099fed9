"""Sampler and trainer as a pipeline: schedules worked by hand, and beside a simulation that goes second by second."""

import json
import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "bench"))
import pipeline
from pipeline import Times, drawn_times, jittered, of_run, simulate


def times(sampling: list[int], learning: list[int], packing: list[int] | None = None) -> Times:
    return Times(packing or [0] * len(sampling), sampling, learning)


def test_with_no_staleness_the_turns_are_one_behind_the_other() -> None:
    """Sampling 1 and learning 2: 3 a turn, whichever is the slower."""
    found = simulate(times([1] * 4, [2] * 4), 0)
    assert found.began == [0, 3, 6, 9, 12]
    assert found.asked == found.begun == [0, 3, 6, 9]
    assert found.drawn == found.taken == [1, 4, 7, 10]
    assert found.waiting == [1, 1, 1, 1]
    assert (found.sampler, found.trainer) == (4 / 12, 8 / 12)
    assert (found.queue, found.staleness, found.age) == (0, 0, 1)
    assert simulate(times([2] * 4, [1] * 4), 0).seconds == 12


def test_a_faster_sampler_is_waited_for_once() -> None:
    """Turn 2 is asked for at the start of turn 1, at 3, and drawn at 4, a second before turn 1 has learned."""
    found = simulate(times([1] * 4, [2] * 4), 1)
    assert found.began == [0, 1 + 2, 3 + 2, 5 + 2, 7 + 2]
    assert found.asked == [0, 0, 3, 5]
    assert found.begun == [0, 1, 3, 5]
    assert found.drawn == [1, 2, 4, 6]
    assert found.taken == [1, 3, 5, 7]
    assert found.waiting == [1, 0, 0, 0]
    assert (found.sampler, found.trainer) == (4 / 9, 8 / 9)
    assert found.queue == pytest.approx((0 + 1 + 1 + 1) / 9)
    assert found.staleness == (0 + 1 + 1 + 1) / 4
    assert found.age == (1 + 3 + (5 - 3) + (7 - 5)) / 4


def test_a_slower_sampler_never_rests() -> None:
    """The trainer waits a second in each turn; a greater staleness changes nothing but the age of the weights."""
    found = simulate(times([2] * 4, [1] * 4), 1)
    assert found.began == [0, 3, 5, 7, 9]
    assert found.drawn == [2, 4, 6, 8]
    assert found.waiting == [2, 1, 1, 1]
    assert (found.sampler, found.trainer) == (8 / 9, 4 / 9)
    assert found.queue == 0
    further = simulate(times([2] * 4, [1] * 4), 4)
    assert (further.began, further.queue) == (found.began, 0)
    assert further.age > found.age


def test_with_a_staleness_beyond_the_run_all_turns_are_asked_for_at_the_start() -> None:
    """Rollouts lie for 0, 1, 2 and 3 seconds."""
    found = simulate(times([1] * 4, [2] * 4), 4)
    assert found.asked == [0, 0, 0, 0]
    assert found.drawn == [1, 2, 3, 4]
    assert found.taken == [1, 3, 5, 7]
    assert found.seconds == 9
    assert found.queue == pytest.approx((0 + 1 + 2 + 3) / 9)
    assert found.age == (1 + 3 + 5 + 7) / 4


def test_a_turn_that_samples_long_is_evened_out_by_those_before() -> None:
    """Turn 3 takes 5 seconds, and learning always 2. With K = 1 it is asked for at 5 and drawn at 10; with K = 4 it is
    asked for at once and drawn at 8, of which one second is waited for."""
    made = times([1, 1, 1, 5], [2] * 4)
    one, four = simulate(made, 1), simulate(made, 4)
    assert one.waiting == [1, 0, 0, 3]
    assert one.began == [0, 3, 5, 7, 12]
    assert four.drawn == [1, 2, 3, 8]
    assert four.waiting == [1, 0, 0, 1]
    assert four.seconds == 10


def test_weights_are_copied_before_a_turn_is_asked_for() -> None:
    """Copying takes 1: turn 1 has copied at 5, when its rollout has lain for 2; turn 2's is asked for then."""
    found = simulate(times([1] * 3, [2] * 3, [1] * 3), 1)
    assert found.asked == [1, 1, 5]
    assert found.drawn == [2, 3, 6]
    assert found.began == [0, 4, 7, 10]
    assert found.taken == [2, 5, 8]
    assert found.waiting == [1, 0, 0]
    assert simulate(times([1] * 3, [2] * 3, [1] * 3), 0).seconds == 3 * 4


def by_seconds(made: Times, lag: int) -> tuple[list[int], list[int], list[int]]:
    """When each turn began, was drawn and was taken, in whole seconds: what sampler and trainer do in each of them."""
    asked: list[int] = []
    began, drawn, taken = [0], [], []
    now, turn, state, left, drawing, busy = 0, 0, "packing", made.packing[0], -1, 0
    while turn < made.turns:
        changed = True
        while changed:  # all that happens at this moment
            changed = False
            if state == "packing" and left == 0:
                asked += range(len(asked), min(made.turns, turn + lag + 1))
                state, changed = "waiting", True
            if drawing < 0 and len(drawn) < len(asked):
                drawing, busy, changed = asked[len(drawn)], int(made.sampling[len(drawn)]), True
            if drawing >= 0 and busy == 0:
                drawn.append(now)
                drawing, changed = -1, True
            if state == "waiting" and len(drawn) > turn:
                taken.append(now)
                state, left, changed = "learning", made.learning[turn], True
            if state == "learning" and left == 0:
                turn, state, changed = turn + 1, "packing", True
                began.append(now)
                if turn == made.turns:
                    break
                left = made.packing[turn]
        now, busy = now + 1, busy - (drawing >= 0)
        left -= state in ("packing", "learning")
    return began, drawn, taken


@pytest.mark.parametrize("lag", [0, 1, 2, 4, 30])
def test_it_is_what_happens_second_by_second(lag: int) -> None:
    for seed in range(30):
        numbers = random.Random(seed)
        made = Times(*[[numbers.randint(0, high) for _ in range(12)] for high in (2, 6, 6)])
        found = simulate(made, lag)
        assert (found.began, found.drawn, found.taken) == by_seconds(made, lag)
        assert sum(found.waiting) + sum(made.packing) + sum(made.learning) == found.seconds


def test_more_staleness_never_takes_longer() -> None:
    """Nor less than sampling all and learning from the last turn, or sampling the first and learning from all."""
    for seed in range(20):
        made = drawn_times(2.0, 2.0, 0.1, 0.7, 40, seed)
        seconds = [simulate(made, lag).seconds for lag in range(6)]
        assert seconds == sorted(seconds, reverse=True)
        assert seconds[0] == pytest.approx(sum(made.packing) + sum(made.sampling) + sum(made.learning))
        least = max(sum(made.sampling) + made.learning[-1], made.sampling[0] + sum(made.learning) + 40 * 0.1)
        assert seconds[-1] >= least


def test_jitter_is_a_function_of_the_seed() -> None:
    """The mean of exp(σZ − σ²/2) is 1: of 20,000 with σ = 0.5, whose deviation is √(e^¼ − 1) = 0.533, within 4 standard
    errors."""
    one = jittered(3.0, 0.5, 20_000, 1)
    assert one == jittered(3.0, 0.5, 20_000, 1) != jittered(3.0, 0.5, 20_000, 2)
    assert sum(one) / len(one) == pytest.approx(3.0, abs=3.0 * 4 * 0.533 / 20_000**0.5)
    assert jittered(3.0, 0.0, 4, 1) == [3.0] * 4
    made = drawn_times(2.0, 2.0, 0.0, 0.5, 8, 0)
    assert made.sampling != made.learning


def test_times_come_from_a_run(tmp_path: Path) -> None:
    rows = [
        {"step": 1, "seconds": 9.0, "tokens_per_second": 1.0},
        {"step": 0, "turn": 0, "packing": 0.5, "sampling": 2.0, "waiting": 2.0, "turn_seconds": 5.5},
        {"step": 1, "turn": 1, "packing": 0.25, "sampling": 1.0, "waiting": 0.0, "turn_seconds": 2.25},
    ]
    (tmp_path / "timings.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert of_run(tmp_path) == Times([0.5, 0.25], [2.0, 1.0], [3.0, 2.0])
    (tmp_path / "timings.jsonl").write_text(json.dumps(rows[0]) + "\n")
    with pytest.raises(ValueError, match="has no turns"):
        of_run(tmp_path)


def test_what_makes_no_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match="the same number of turns"):
        times([1, 2], [1])
    with pytest.raises(ValueError, match="0 or more"):
        simulate(times([1], [1]), -1)


def test_the_page_has_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    pipeline.main([])
    printed = capsys.readouterr().out
    assert printed.strip() in (Path(__file__).parent.parent / "docs/scale.md").read_text()
    pipeline.main(["--sampling", "1", "--learning", "2", "--turns", "4", "--staleness", "1"])
    assert "| 1 + 2 | 1 | 2.25 | 75% | 44% | 89% | 0.33 | 0.75 | 2.00 |" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        pipeline.main(["--sampling", "1"])
