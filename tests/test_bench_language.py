"""The benchmark of language models: what it counts, what both sides are given, and how two results are compared."""

import json
import sys
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from burnish.run import UserError

sys.path.insert(0, str(Path(__file__).parent.parent / "bench"))
import compare
import language
import language_limits
import language_works
import sampler
from language_works import PPO_EPOCHS, WORKS, Plan, arguments, planned

SHAPE = {"matrices": 10, "layers": 2, "hidden": 3, "vocabulary": 7}


# FLOPs ---------------------------------------------------------------------------------------------------------------


def slow(start: int, lengths: list[int], vocabulary: bool) -> int:
    """Token by token, over the distinct (text, place) that are read; the prompt belongs to no text."""
    total = 0
    for text, length in [(-1, start), *enumerate(lengths)]:
        for place in range(0 if text < 0 else start, length):
            if vocabulary and text >= 0 and place == length - 1:
                continue  # nothing is predicted from it
            total += 2 * 10
            for _ in range(place + 1):
                total += 2 * (2 * 3 + 2 * 3)  # a score and a share of the mean, in each layer
    if vocabulary:
        total += sum(2 * 3 * 7 * (length - start) for length in lengths)
    return total


@pytest.mark.parametrize("vocabulary", [True, False])
@pytest.mark.parametrize(("start", "lengths"), [(4, [6, 9]), (1, [5]), (3, [4, 4, 7])])
def test_a_forward_pass_is_counted_as_by_nested_loops(start: int, lengths: list[int], vocabulary: bool) -> None:
    assert language_limits.texts(SHAPE, start, lengths, vocabulary) == slow(start, lengths, vocabulary)


@pytest.mark.parametrize(
    ("name", "passes"),
    [
        ("sft", lambda both, own, other, scores: 3 * both),
        ("reward", lambda both, own, other, scores: 3 * scores),
        ("dpo_long", lambda both, own, other, scores: 4 * both),
        ("kto", lambda both, own, other, scores: 3 * own + other + both),
        ("sample_32", lambda both, own, other, scores: both),
        ("grpo", lambda both, own, other, scores: 4 * both),
        ("rloo", lambda both, own, other, scores: 5 * both),
        ("ppo", lambda both, own, other, scores: (2 + 3 * PPO_EPOCHS) * (both + scores)),
    ],
)
def test_a_work_needs_so_many_passes(name: str, passes: Any) -> None:
    """A gradient costs two forward passes; DPO's reference is one; only KTO's own text has a gradient."""
    batches = [{"starts": [[4, 4]], "lengths": [[6, 9]]}] * 2
    terms = slow(4, [6, 9], True), slow(4, [6], True), slow(4, [9], True), slow(4, [6, 9], False)
    assert language_limits.needed(WORKS[name], SHAPE, batches) == 2 * passes(*terms)


# The plan ------------------------------------------------------------------------------------------------------------


def test_the_plan_without_arguments() -> None:
    cases = [(work, "small", "float32") for work in WORKS] + [("dpo_long", "llama", "float32")]
    assert planned(arguments([])) == Plan(
        tuple(cases), ("burnish", "peer"), 2, 2, str(language_works.HERE / "language.json")
    )


def test_works_that_are_named_are_measured_at_every_size_and_precision() -> None:
    words = "--works dpo,sft --sizes gpt2,llama --precision float32,bfloat16 --sides burnish --rounds 1 --threads 1"
    plan = planned(arguments(words.split()))
    expected = [(w, s, p) for s in ("gpt2", "llama") for p in ("float32", "bfloat16") for w in ("dpo", "sft")]
    assert plan.cases == tuple(expected)
    assert (plan.sides, plan.rounds, plan.threads) == (("burnish",), 1, 1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--works", "gspo"], "--works gspo: there is no such name; use sft"),
        (["--sizes", ","], "--sizes names nothing"),
        (["--sides", "peer"], "--sides peer: the peer gets its rows in the order of Burnish"),
        (["--rounds", "0"], "--rounds must be at least 1, not 0"),
    ],
)
def test_a_plan_amiss_is_refused(words: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        planned(arguments(words))


# What is written down ------------------------------------------------------------------------------------------------


def side(seconds: float, core: float, peak: float, losses: list[float], **more: Any) -> dict[str, Any]:
    return {"seconds": seconds, "core_seconds": core, "whole_seconds": 9.0, "peak_mb": peak, "losses": losses} | more


def test_a_row_by_hand() -> None:
    """256 rows in medians of 2 and 4 seconds, of 2.5 and 7.5 on a core. One text of 4 + 2 tokens needs 3 passes; at a
    peak of 1,000 FLOPs a second of each of 2 threads together, 1.25 seconds would do 1,250."""
    batches = [{"starts": [[4]], "lengths": [[6]]}]
    rounds = [
        {"burnish": side(1, 2, 90, [1.0, 2.0], batches=batches), "peer": side(3, 7, 100, [1.0, 2.0])},
        {"burnish": side(3, 3, 110, [1.0, 2.5], batches=batches), "peer": side(5, 8, 300, [1.25, 2.5])},
    ]
    row = language.row(("sft", "small", "float32"), SHAPE, 1000.0, rounds, 2)
    assert (row["rows"], row["tokens"], row["needed_flops"]) == (256, 6, 3 * slow(4, [6], True))
    assert (row["burnish"]["rows_per_second"], row["peer"]["rows_per_second"]) == (128.0, 64.0)
    assert (row["ratio"], row["ratio_of_core_seconds"], row["ratio_of_memory"]) == (2.0, 3.0, 0.5)
    assert row["burnish"]["share_of_limit"] == pytest.approx(3 * slow(4, [6], True) / 1250, abs=1e-4)
    assert row["loss_difference"] == 0.25
    assert language.disagreeing([row]) == ["sft, small: 2.5e-01"]
    assert language.disagreeing([row | {"precision": "bfloat16"}, row | {"loss_difference": 9e-5}]) == []
    assert json.loads(json.dumps(row)) == row
    row["peer"]["tokens_per_second"] = 1234.5
    assert language.cells(row)[3:8] == ["128.0", "3", "64.0", "1,234", "2.00 ×"]
    assert language.cells(row)[:3] == ["SFT", "small", "float32"]
    assert language.HEADINGS[3:8] == ("rows/s", "tokens/s", "TRL rows/s", "TRL tokens/s", "ratio")
    assert len(language.cells(row)) == len(language.HEADINGS)
    assert set(language.cells({"work": "sft", "size": "small", "precision": "bfloat16"})[3:]) == {""}


def test_sampled_tokens_are_each_sides_own() -> None:
    """40 new tokens in 2 seconds against 30 in 3: 20 and 10 a second. They are of 128 completions."""
    ours = side(2, 2, 100, [], batches=[{"starts": [[4], [2]], "lengths": [[24], [22]]}])
    row = language.row(
        ("sample_32", "small", "float32"),
        SHAPE,
        1e3,
        [{"burnish": ours, "peer": side(3, 3, 100, [], new_tokens=30)}],
        1,
    )
    assert (row["burnish"]["tokens_per_second"], row["peer"]["tokens_per_second"], row["ratio"]) == (20.0, 10.0, 2.0)
    assert row["loss_difference"] is None
    assert language.cells(row)[3:7] == ["64.0", "20", "42.7", "10"]


def test_sides_with_other_numbers_of_steps_disagree() -> None:
    rounds = [{"burnish": side(1, 1, 1, [1.0]), "peer": side(1, 1, 1, [1.0, 1.0])}]
    assert language.difference(rounds) == float("inf")


def test_both_sides_are_given_every_option() -> None:
    import re

    text = (language_works.HERE / "language_trl.py").read_text()
    assert set(re.findall(r'^    "(\w+)": "\w+",$', text, re.MULTILINE)) >= set(
        language_works.training_options(WORKS["sft"])
    )


# Two results beside each other ---------------------------------------------------------------------------------------


def test_figures_are_compared_by_name() -> None:
    """Speeds of 10 and 15: 1.5; what only one of the files has, text and single rounds are left out."""
    old = {"work": "sft", "size": "small", "precision": "float32", "rows": 4, "burnish": {"rate": 10.0, "gone": 1}}
    new = old | {"burnish": {"rate": 15.0, "new": 2}, "rounds": [{"rate": 1}], "loss_difference": None}
    other = old | {"size": "gpt2"}
    lines = compare.compared({"results": [old]}, {"results": [new, other]})
    assert lines == [
        ("sft, small, float32", "rows", 4, 4, 1.0),
        ("sft, small, float32", "burnish.rate", 10.0, 15.0, 1.5),
    ]


def test_results_of_control_are_compared_too() -> None:
    old, new = ({"algorithm": "ppo", "ratio": x, "burnish_options": {"clip": x}} for x in (0.0, 2.0))
    assert compare.compared({"results": [old]}, {"results": [new]}) == [("ppo", "ratio", 0.0, 2.0, None)]


def test_the_points_of_curves_are_compared_by_what_is_varied(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the points at 16 and 32 both files have the second, at 1.5 times the seconds and half the memory."""
    for name, x, seconds, mib in (("old", 16, 2.0, 100.0), ("new", 64, 3.0, 50.0)):
        points = [{"x": x, "seconds": 9.0, "mib": 9.0, "start": 0.0}]
        points.append({"x": 32, "seconds": seconds, "mib": mib, "start": 0.0})
        pairs = [{"x": 1000, "seconds": 1.0, "mib": 1.0, "start": seconds}]
        content = {"machine": "Linux", "cpu": "AVX2", "curves": {"prompt": points, "pairs": pairs}}
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    old, new = (compare.read(str(tmp_path / f"{name}.json")) for name in ("old", "new"))
    assert compare.compared(old, new) == [
        ("prompt, at 32", "seconds", 2.0, 3.0, 1.5),
        ("prompt, at 32", "mib", 100.0, 50.0, 0.5),
        ("pairs, at 1000", "seconds", 1.0, 1.0, 1.0),
        ("pairs, at 1000", "mib", 1.0, 1.0, 1.0),
        ("pairs, at 1000", "start", 2.0, 3.0, 1.5),
    ]
    compare.main([str(tmp_path / "old.json"), str(tmp_path / "new.json")])
    assert "old.json: AVX2\n" in capsys.readouterr().out


def test_a_file_of_the_sampler_is_compared_with_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sampled for it."""
    monkeypatch.setattr(sampler, "logging", Mock())
    monkeypatch.setattr(sampler, "both_sides", lambda family: (Mock(), None))
    monkeypatch.setattr(sampler, "rates", lambda *given: {"burnish": 30.0, "generate": 20.0, "ratio": 1.5})
    sampler.main(["--family", "gpt2", "--batch", "8", "--new", "2", "--rounds", "1", "--out", str(tmp_path / "a.json")])
    found = compare.read(str(tmp_path / "a.json"))
    lines = compare.compared(found, found)
    works = ("full length", "random ends", "8 of each prompt")
    assert [line[:2] for line in lines] == [
        (f"gpt2, {work}, batch 8", figure) for work in works for figure in ("burnish", "generate", "ratio")
    ]
    assert {line[4] for line in lines} == {1.0}


def test_files_that_no_bench_wrote_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[]")
    (tmp_path / "b.json").write_text("{}")
    for words, said in (
        ([], "give two files"),
        (["no.json", "no.json"], "no.json cannot be read"),
        ([str(tmp_path / "a.json")] * 2, "a.json has no results"),
        ([str(tmp_path / "b.json")] * 2, "b.json has no results"),
    ):
        with pytest.raises(UserError, match=said):
            compare.main(words)
