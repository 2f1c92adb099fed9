"""Judges in this process, and what verdicts add up to; counted by hand."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from burnish.evaluation.judges import (
    FunctionJudge,
    RewardJudge,
    Verdict,
    both_orders,
    counts,
    load_judge,
    position_bias,
    win_rate,
)
from burnish.rewards.completed import Completed
from burnish.rewards.function import function_reward
from burnish.run import UserError


def written(*responses: str) -> Completed:
    count = len(responses)
    rows = [10 + i for i in range(count)]
    return Completed(["p"] * count, list(responses), list(responses), {}, rows, None, [True] * count)


A, B = written("aaa", "a", "aa"), written("bb", "bb", "bb")


def test_the_higher_score_wins_and_equal_scores_tie() -> None:
    judge = RewardJudge(function_reward(lambda prompts, responses: [len(r) for r in responses], "length"))
    assert judge.name == "length"
    assert judge(A, B) == [Verdict("A", (3.0, 2.0)), Verdict("B", (1.0, 2.0)), Verdict("tie", (2.0, 2.0))]


def test_a_function_is_given_lists_and_may_answer_in_words_or_numbers() -> None:
    seen: list[Any] = []

    def judge(prompts: list[str], a: list[str], b: list[str]) -> list[Any]:
        seen.extend([prompts, a, b])
        return ["B", None, -0.5]

    found = FunctionJudge("mine", judge)(A, B)
    assert seen == [["p"] * 3, ["aaa", "a", "aa"], ["bb"] * 3]
    assert [one.winner for one in found] == ["B", None, "B"]
    assert found[1].problem


def test_a_function_is_given_copies() -> None:
    a, b = (dataclasses.replace(one, prompts=[[{"content": "p"}] for _ in range(3)]) for one in (A, B))
    before = repr((a, b))

    def judge(prompts: list[Any], a: list[str], b: list[str]) -> list[int]:
        prompts[0][0]["content"] = "X"
        prompts.clear()
        a.sort()
        b.clear()
        return [1, 1, 1]

    assert [one.winner for one in FunctionJudge("mine", judge)(a, b)] == ["A"] * 3
    assert repr((a, b)) == before


@pytest.mark.parametrize(
    "said", [[1, 0, -2], [0.5, 0.0, -1e-9], np.array([3.0, 0, -1]), torch.tensor([1.0, 0, -1]), ("A", "tie", "B")]
)
def test_every_way_to_say_the_same(said: Any) -> None:
    assert [one.winner for one in FunctionJudge("mine", lambda p, a, b: said)(A, B)] == ["A", "tie", "B"]


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (["A", "C", "B"], "returned 'C' for row 11: it must return A, B, tie"),
        (["A", True, "B"], "returned True for row 11"),
        (["A", "B", float("nan")], "returned nan for row 12"),
        (["A", [1], "B"], r"returned \[1\] for row 11"),
        (["A"], "returned 1 verdicts for 3 pairs"),
        ("AAA", "returned 'AAA' for 3 pairs"),
        (None, "returned None for 3 pairs"),
    ],
)
def test_what_is_no_verdict_is_refused(said: Any, sentence: str) -> None:
    with pytest.raises(UserError, match=f"the judge mine {sentence}"):
        FunctionJudge("mine", lambda p, a, b: said)(A, B)


def test_a_function_that_raises_is_a_user_error() -> None:
    with pytest.raises(UserError, match=r"the judge mine failed \(ZeroDivisionError: .*\): correct it"):
        FunctionJudge("mine", lambda p, a, b: 1 / 0)(A, B)


def test_a_judge_that_exits_or_fails_while_it_is_read_is_a_user_error() -> None:
    with pytest.raises(UserError, match=r"the judge mine failed \(SystemExit: 0\): correct it"):
        FunctionJudge("mine", lambda p, a, b: sys.exit(0))(A, B)
    with pytest.raises(UserError, match=r"the judge mine failed \(ZeroDivisionError: .*\): correct it"):
        FunctionJudge("mine", lambda p, a, b: (1 / 0 for _ in p))(A, B)


def test_a_verdict_that_exits_is_a_user_error() -> None:
    class Leaving(str):
        def __hash__(self) -> int:
            sys.exit(0)

    with pytest.raises(UserError, match=r"the judge mine failed \(SystemExit: 0\)"):
        FunctionJudge("mine", lambda prompts, a, b: [Leaving("A")] * 3)(A, B)


def test_a_judge_is_loaded_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "judges_of_mine.py").write_text("LIMIT = 3\ndef longest(prompts, a, b):\n    return ['A'] * len(a)\n")
    monkeypatch.chdir(tmp_path)
    judge = load_judge("judges_of_mine:longest")
    assert judge.name == "judges_of_mine:longest"
    assert [one.winner for one in judge(A, B)] == ["A"] * 3
    with pytest.raises(UserError, match=r"--judge judges_of_mine:LIMIT is not callable \(type int\)"):
        load_judge("judges_of_mine:LIMIT")
    with pytest.raises(UserError, match=r"--judge nowhere:f cannot be imported \(there is no module nowhere"):
        load_judge("nowhere:f")


@pytest.mark.parametrize(
    ("first", "second", "winner", "disagrees"),
    [
        ("A", "A", "A", False),
        ("B", "B", "B", False),
        ("tie", "tie", "tie", False),
        ("A", "B", "tie", True),
        ("A", "tie", "tie", True),
        ("tie", "B", "tie", True),
        (None, "A", None, False),
        ("A", None, None, False),
    ],
)
def test_two_orders_make_one_verdict(first: Any, second: Any, winner: Any, disagrees: bool) -> None:
    found = both_orders(first, second)
    assert (found.winner, found.disagrees, found.orders) == (winner, disagrees, (first, second))
    assert bool(found.problem) == (winner is None)


def verdicts(text: str) -> list[Verdict]:
    return [Verdict({"A": "A", "B": "B", "t": "tie", "-": None}[one]) for one in text]


def test_counts() -> None:
    found = [*verdicts("AABtt-"), both_orders("A", "B"), both_orders("tie", None)]
    assert counts(found) == {"pairs": 8, "A": 2, "B": 1, "ties": 3, "unjudged": 2, "orders_disagree": 1}


def test_win_rate_leaves_out_what_was_not_judged() -> None:
    """3 wins, a loss and two ties of 6: 4/6. The bootstrap's standard error is √(σ²/n), σ² = (3 + 2/4)/6 − (4/6)²
    = 0.1389, so about 0.152, and 1.96 of these 0.30 on either side of the mean."""
    found = win_rate(verdicts("AAABtt---") * 20)
    assert found is not None
    assert found.mean == pytest.approx(4 / 6)
    half = 1.96 * np.sqrt(0.1389 / 120)
    assert found.low == pytest.approx(4 / 6 - half, abs=0.01)
    assert found.high == pytest.approx(4 / 6 + half, abs=0.01)
    assert win_rate(verdicts("---")) is win_rate([]) is None


def test_where_all_pairs_go_one_way_the_interval_is_wilsons() -> None:
    """Of n of n the lower end is n / (n + z²): 10/(10 + 3.8415) = 0.7225."""
    won, lost, tied = (win_rate(verdicts(one * 10)) for one in "ABt")
    assert won is not None
    assert lost is not None
    assert tied is not None
    assert (won.mean, won.high) == (1, 1)
    assert won.low == pytest.approx(0.7225, abs=1e-4)
    assert (lost.low, lost.mean) == (0, 0)
    assert lost.high == pytest.approx(1 - 0.7225, abs=1e-4)
    assert (tied.low, tied.mean, tied.high) == (0.5, 0.5, 0.5)  # the same text from both is no evidence of anything


def test_position_bias_is_the_share_of_the_first_shown() -> None:
    """A judge that is right has ½ whoever wins; (A, B) means the first shown won twice, (B, A) the second."""
    for fair in (["A", "A"], ["B", "B"], ["tie", "tie"]):
        found = position_bias([both_orders(*fair)] * 5)
        assert found is not None
        assert found.mean == 0.5
    first, second = (position_bias([both_orders(*one)] * 5) for one in (("A", "B"), ("B", "A")))
    assert first is not None
    assert second is not None
    assert (first.mean, second.mean) == (1.0, 0.0)
    mixed = position_bias(
        [both_orders("A", "B"), both_orders("A", "tie"), both_orders("B", "B"), both_orders("A", None)]
    )
    assert mixed is not None
    assert mixed.mean == pytest.approx((1 + 0.75 + 0.5) / 3)
    assert mixed.low < mixed.mean < mixed.high
    assert position_bias(verdicts("AB")) is None
