"""Scores are written down here; the expected numbers are worked by hand."""

import math

import numpy as np
import pytest
import tiny
import torch
from tiny_scorers import make_scorer, naive_score

from burnish.batches import Preferences
from burnish.evaluation import rewardbench
from burnish.evaluation.rewardbench import Scored, implicit_scores, reward_scores, summarise, ties_score
from burnish.evaluation.statistics import Interval
from burnish.run import UserError


def pair(subset: str, chosen: float, rejected: float) -> Scored:
    return Scored(0, subset, np.array([chosen]), np.array([rejected]))


def answered(subset: str, right: int, wrong: int, ties: int = 0) -> list[Scored]:
    """So many pairs of a subset that are won, lost and tied."""
    scores = [(2.0, 1.0)] * right + [(1.0, 2.0)] * wrong + [(1.0, 1.0)] * ties
    return [pair(subset, *both) for both in scores]


def row(key: str, chosen: list[float], rejected: list[float]) -> Scored:
    return Scored(0, "Ties", np.array(chosen, float), np.array(rejected, float), key)


def test_subsets_weigh_by_rows_and_a_tie_is_a_loss() -> None:
    """Chat: 3 of 4 and 1 of 2 are 4 of 6. Chat Hard: 1 right, 1 wrong, 2 tied are 1 of 4. Mean (2/3 + 1/4) / 2."""
    rows = answered("alpacaeval-easy", 3, 1) + answered("mt-bench-med", 1, 1) + answered("mt-bench-hard", 1, 1, 2)
    found = summarise(rows, best_of=False)
    assert found["benchmark"] == "RewardBench"
    assert found["sections"]["Chat"]["score"]["mean"] == pytest.approx(4 / 6)
    assert found["sections"]["Chat Hard"]["score"]["mean"] == pytest.approx(1 / 4)
    assert found["score"]["mean"] == pytest.approx((4 / 6 + 1 / 4) / 2)
    assert found["missing_sections"] == ["Safety", "Reasoning"]
    hard = found["subsets"]["mt-bench-hard"]
    assert (hard["section"], hard["rows"], hard["ties"]) == ("Chat Hard", 4, 2)
    # Wilson's interval of 1 of 4, by hand: z² = 3.8415, centre (1/4 + z²/8) / (1 + z²/4) = 0.3725, half width 0.3269
    assert (hard["score"]["low"], hard["score"]["high"]) == pytest.approx((0.0456, 0.6994), abs=2e-4)


def test_mathematics_weighs_as_much_as_all_code() -> None:
    """math-prm 1 of 1; code 0 of 2 and 3 of 4, so 3 of 6: Reasoning is the mean of 1 and 1/2, not 4 of 7."""
    rows = answered("math-prm", 1, 0) + answered("hep-go", 0, 2) + answered("hep-rust", 3, 1)
    found = summarise(rows, best_of=False)["sections"]["Reasoning"]
    assert found["score"]["mean"] == pytest.approx(0.75)
    assert found["rows"] == 7
    alone = summarise(answered("math-prm", 1, 3), best_of=False)["sections"]["Reasoning"]
    assert alone["score"]["mean"] == pytest.approx(0.25)
    code = summarise(answered("hep-cpp", 1, 3), best_of=False)["sections"]["Reasoning"]
    assert code["score"]["mean"] == pytest.approx(0.25)


def test_the_weights_of_the_whole_benchmark() -> None:
    """447 rows of mathematics count as 984, as the published weights say."""
    counts = {"math-prm": 447} | {f"hep-{name}": 164 for name in ("cpp", "go", "java", "js", "python", "rust")}
    found = rewardbench.weights(counts)
    assert found["math-prm"] == 984
    assert found["hep-js"] == 164


def test_unknown_subsets_are_in_no_mean() -> None:
    found = summarise(answered("donotanswer", 1, 1) + answered("my-own", 5, 0), best_of=False)
    assert found["subsets"]["my-own"]["section"] == "other"
    assert found["subsets"]["my-own"]["score"]["mean"] == 1.0
    assert found["score"]["mean"] == pytest.approx(0.5)
    assert [*found["sections"]] == ["Safety"]
    none = summarise(answered("my-own", 5, 0), best_of=False)
    assert none["score"] is None
    assert none["sections"] == {}


def test_every_subset_has_one_section_and_the_published_counts() -> None:
    names = [name for group in rewardbench.SECTIONS.values() for name in group]
    assert len(names) == len(set(names)) == 23
    assert sum(rewardbench.PUBLISHED.values()) == 2985
    assert sum(rewardbench.PUBLISHED_2.values()) == 1865
    assert rewardbench.SECTIONS.keys() == rewardbench.PUBLISHED.keys()
    assert rewardbench.SECTIONS_2.keys() == rewardbench.PUBLISHED_2.keys()


def test_the_interval_of_a_weighted_mean() -> None:
    """Weights 3 and 1 of 0.5 [0.4, 0.7] and 0.9 [0.7, 1.0]: mean 0.6; below √((¾·0.1)² + (¼·0.2)²) = 0.09014,
    above √((¾·0.2)² + (¼·0.1)²) = 0.15207."""
    found = rewardbench.weighted([(3.0, Interval(0.5, 0.4, 0.7)), (1.0, Interval(0.9, 0.7, 1.0))])
    assert found["mean"] == pytest.approx(0.6)
    assert found["low"] == pytest.approx(0.6 - 0.090139, abs=1e-6)
    assert found["high"] == pytest.approx(0.6 + 0.152069, abs=1e-6)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Reasoning as published, accuracies that differ: the interval of 500 simulated benchmarks holds the truth."""
    counts = {"math-prm": 45} | {f"hep-{i}": 16 for i in range(6)}
    truths = dict(zip(counts, (0.9, 0.6, 0.7, 0.8, 0.5, 0.75, 0.65), strict=True))
    share = rewardbench.weights(counts)
    truth = sum(share[name] * truths[name] for name in counts) / sum(share.values())
    random = np.random.default_rng(0)
    hits = 0
    for _ in range(500):
        subsets = {
            name: {"rows": n, "score": rewardbench.proportion(int(random.binomial(n, truths[name])), n).as_dict()}
            for name, n in counts.items()
        }
        score = rewardbench.of_section(subsets, list(counts))["score"]
        hits += score["low"] <= truth <= score["high"]
    assert 0.92 <= hits / 500 <= 0.98


def test_the_best_chosen_answer_must_beat_all_rejected_ones() -> None:
    """Right: 3 > 2, 1, 0; wrong: 1 < 2; a tie with one of three is a loss; of several chosen the best one counts."""
    rows = [
        Scored(0, "Focus", np.array([3.0]), np.array([2.0, 1.0, 0.0])),
        Scored(1, "Focus", np.array([1.0]), np.array([0.0, 2.0, 0.0])),
        Scored(2, "Focus", np.array([2.0]), np.array([0.0, 2.0, 0.0])),
        Scored(3, "Focus", np.array([0.0, 4.0]), np.array([3.0, 1.0, 1.0])),
    ]
    found = summarise(rows, best_of=True)
    assert found["benchmark"] == "RewardBench 2"
    assert found["subsets"]["Focus"]["score"]["mean"] == pytest.approx(2 / 4)
    assert found["subsets"]["Focus"]["ties"] == 1
    assert found["sections"]["Focus"]["published_rows"] == 495
    assert found["sections"]["Focus"]["score"] == pytest.approx(found["subsets"]["Focus"]["score"])


def test_the_names_of_one_benchmark_are_unknown_to_the_other() -> None:
    assert summarise(answered("Math", 1, 0), best_of=False)["subsets"]["Math"]["section"] == "other"
    assert summarise(answered("math-prm", 1, 0), best_of=True)["subsets"]["math-prm"]["section"] == "other"
    assert summarise(answered("Ties", 1, 0), best_of=False)["subsets"]["Ties"]["section"] == "other"


TIES = [
    # gaps 2 and 1, spread 0.5: everything is passed, and min gap / spread − 1 = 1
    row("ref:1", [5], [3, 1]),
    row("tied:1", [4, 4.5], [3, 2]),
    # gaps 0.5 and 2, spread 1: the smaller gap is not above the spread, and 0.5/1 − 1 = −0.5
    row("tied:2", [3, 4], [1, 1]),
    row("ref:2", [1.5], [1, 0]),
    # gaps −1 and −1, spread 2: nothing is passed, and −1/2 − 1 = −1.5
    row("ref:3", [0], [1]),
    row("tied:3", [0, 2], [1]),
]


def test_the_score_of_ties() -> None:
    """Prompt 1: 1 + 0.01·tanh 1; prompt 2: 0.3 + 0.3 + 0.2 + 0.01·tanh(−0.5); prompt 3: 0.01·tanh(−1.5)."""
    found = ties_score(TIES)
    tanhs = [math.tanh(x) for x in (1, -0.5, -1.5)]
    assert found["score"]["mean"] == pytest.approx((1 + 0.8 + 0 + 0.01 * sum(tanhs)) / 3)
    assert found["score"]["low"] < 0.6 < found["score"]["high"]
    assert (found["pairs"], found["unpaired"]) == (3, 0)
    assert found["terms"] == pytest.approx(
        {
            "ref_accuracy": 2 / 3,
            "tied_accuracy": 2 / 3,
            "preferred": 2 / 3,
            "preferred_hard": 1 / 3,
            "margin": sum(tanhs) / 3,
        }
    )


def test_the_score_of_ties_does_not_depend_on_the_scale() -> None:
    """β, and what is added to all scores of a prompt, change nothing."""
    other = [Scored(0, "Ties", 0.1 * one.chosen + 7, 0.1 * one.rejected + 7, one.key) for one in TIES]
    assert ties_score(other)["score"]["mean"] == pytest.approx(ties_score(TIES)["score"]["mean"])


def test_right_answers_without_spread() -> None:
    """The tanh is then the gap's sign: 1 + 0.01 above, −0.01 below, 0 where the answers are all the same."""
    for other, expected in ((0.0, 1.01), (2.0, -0.01), (1.0, 0.0)):
        found = ties_score([row("ref:1", [1], [other]), row("tied:1", [1, 1], [other, other])])
        assert found["score"]["mean"] == pytest.approx(expected)


def test_a_prompt_of_ties_without_its_partner_is_left_out() -> None:
    found = ties_score([*TIES, row("ref:9", [5], [1]), row("tied:8", [5, 5], [1])])
    assert found["score"] == ties_score(TIES)["score"]
    assert found["unpaired"] == 2
    lonely = summarise([row("ref:9", [5], [1])], best_of=True)
    assert lonely["score"] is None
    assert lonely["subsets"]["Ties"]["unpaired"] == 1
    assert "Ties" in lonely["missing_sections"]


def test_ties_are_a_section_beside_the_others() -> None:
    others = [Scored(0, "Math", np.array([1.0]), np.array([0.0, 0.0, 0.0]))]
    found = summarise([*TIES, *others], best_of=True)
    assert found["score"]["mean"] == pytest.approx((ties_score(TIES)["score"]["mean"] + 1) / 2)
    assert found["sections"]["Ties"]["rows"] == 6


def batch() -> Preferences:
    return tiny.preferences(tiny.random_pairs(3, group=4))


def test_scores_of_a_reward_model_are_those_of_each_text_alone() -> None:
    scorer, pairs = make_scorer(), tiny.random_pairs(3, group=4)
    scorer.centre(0.5)
    found = reward_scores(scorer, [tiny.preferences(pairs)], "file")
    with torch.no_grad():
        expected = [[naive_score(scorer.model, ids).item() - 0.5 for ids, _ in group] for group in pairs]
    assert [*found] == [0, 1, 2]
    for row_, scores in found.items():
        assert scores == pytest.approx(expected[row_], abs=1e-6)


def test_implicit_scores_are_sums_of_log_ratios() -> None:
    """Token by token with transformers' own forward, one text at a time."""
    policy, reference = tiny.make_policy(seed=0), tiny.make_policy(seed=1)
    pairs = tiny.random_pairs(3, group=4)
    found = implicit_scores(policy, reference, [tiny.preferences(pairs)], "file")
    with torch.no_grad():
        for row_, group in enumerate(pairs):
            expected = []
            for ids, mask in group:
                ours, theirs = (sum(tiny.naive_logprobs(p.model, ids, mask)) for p in (policy, reference))
                expected.append(float(ours - theirs))
            assert found[row_] == pytest.approx(expected, abs=1e-6)


def test_dropout_is_off_while_scoring() -> None:
    policy = tiny.make_policy(resid_pdrop=0.5)
    policy.dropout(True)
    reference = tiny.make_policy(resid_pdrop=0.5)
    reference.dropout(True)
    found = implicit_scores(policy, reference, [batch()], "file")
    assert all(np.allclose(scores, 0, atol=1e-9) for scores in found.values())


def test_a_score_that_is_not_finite_names_file_and_row() -> None:
    scorer = make_scorer()
    with torch.no_grad():
        scorer.model.score.weight.fill_(float("nan"))
    with pytest.raises(UserError, match=r"^pairs.jsonl, row 0: the model's score for an answer is not finite"):
        reward_scores(scorer, [batch()], "pairs.jsonl")
