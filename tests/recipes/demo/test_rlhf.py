"""What the demo does with a reward model, on completions and scores written down by hand."""

import json
from pathlib import Path

import numpy as np
import pytest

from burnish.config import Settings
from burnish.data import builtin
from burnish.evaluation.continuations import Continuations
from burnish.policies.language.policy import LanguagePolicy, load_policy
from burnish.policies.language.scorer import LanguageScorer, load_scorer
from burnish.recipes.assets import resolve_model
from burnish.recipes.demo.measure import Measured, gold_judge
from burnish.recipes.demo.rlhf import at, best_of, climb, labelled, picked, sample_n, sampled_pairs, with_proxy
from burnish.rewards.completed import Completed

BASE = Settings(quiet=True, threads=1)


def completed(prompts: list[str], responses: list[str], ended: list[bool] | None = None) -> Completed:
    texts = [prompt + response for prompt, response in zip(prompts, responses, strict=True)]
    return Completed(prompts, responses, texts, {}, list(range(len(prompts))), None, ended or [True] * len(prompts))


PARTS = [
    completed(["a", "a", "b", "b"], [" 0", " 1", " 2", " 3"]),
    completed(["c", "c", "d", "d", "e", "e"], [" 4", " 5", " 6", " 7", " 8", " 9"], [True] * 4 + [False, True]),
]


def test_completions_are_counted_over_all_parts() -> None:
    assert [at(PARTS, i)["response"] for i in range(10)] == [f" {i}" for i in range(10)]
    assert at(PARTS, 8) == {"prompt": "e", "response": " 8", "text": "e 8", "ended": False}
    with pytest.raises(IndexError):
        at(PARTS, 10)


def test_the_higher_score_is_chosen_and_ties_and_unfinished_texts_are_left_out() -> None:
    """Of a the second is higher, of b the first; c is a tie; of d the second; e was cut at the length limit."""
    scores = np.array([[0.0, 1.0], [-1.0, -2.0], [0.5, 0.5], [2.0, 3.0], [0.0, 1.0]])
    found = labelled(PARTS, scores)
    assert [(p["prompt"], p["chosen"], p["rejected"]) for p in found] == [
        ("a", " 1", " 0"),
        ("b", " 2", " 3"),
        ("d", " 7", " 6"),
    ]
    assert [(p["chosen_score"], p["rejected_score"]) for p in found] == [(1.0, 0.0), (-1.0, -2.0), (3.0, 2.0)]


def test_a_pair_with_an_empty_completion_is_left_out() -> None:
    """A completion that is EOS alone decodes to nothing, which no data file may hold as a response."""
    parts = [completed(["a", "a", "b", "b", "c", "c"], ["", " 1", " 2", "", " 4", " 5"])]
    assert [p["prompt"] for p in labelled(parts, np.array([[0.0, 1.0]] * 3))] == ["c"]


def test_the_best_of_n_are_of_the_first_n() -> None:
    scores = np.array([[0.0, 2.0, 9.0, 1.0], [5.0, 1.0, 2.0, 7.0]])
    assert picked(scores, 1) == [0, 4]
    assert picked(scores, 2) == [1, 4]
    assert picked(scores, 4) == [2, 7]


@pytest.fixture(scope="module")
def policy() -> LanguagePolicy:
    return load_policy(resolve_model("builtin"))


@pytest.fixture(scope="module")
def scorer() -> LanguageScorer:
    return load_scorer(resolve_model("builtin"), seed=1)


def test_the_best_of_n_come_from_the_same_samples(policy: LanguagePolicy, scorer: LanguageScorer) -> None:
    """log 2 − 1/2 and log 3 − 2/3, and the highest of each prompt's first 2 and 3 scores."""
    prompts = list(builtin.prefixes("held_out", 2)["prompt"])
    _, scores = sample_n(policy, scorer, builtin.prefixes("held_out", 2), 3, BASE)
    found = best_of(policy, scorer, prompts, (2, 3), BASE)
    for n, bound in ((2, 0.193147), (3, 0.431946)):
        one = found[f"best of {n}"]
        assert one.proxy is not None
        np.testing.assert_allclose(one.proxy, [max(row[:n]) for row in scores], rtol=1e-6)
        np.testing.assert_allclose(one.kl, [bound, bound], atol=1e-6)
        assert all(text.startswith(p) for text, p in zip(one.continuations.texts, prompts, strict=True))
        np.testing.assert_array_equal(one.gold, gold_judge().score(one.continuations.texts))
        assert one.continuations.batch is None


def test_pairs_are_sampled_once(policy: LanguagePolicy, scorer: LanguageScorer, tmp_path: Path) -> None:
    out = sampled_pairs(policy, scorer, 3, tmp_path / "pairs.jsonl", BASE)
    pairs = [json.loads(line) for line in out.read_text().splitlines()]
    prompts = list(builtin.prefixes("train", 3)["prompt"])
    assert 0 < len(pairs) <= 3
    assert all(pair["prompt"] in prompts and pair["chosen_score"] > pair["rejected_score"] for pair in pairs)
    out.write_text("kept")
    assert sampled_pairs(policy, scorer, 3, out, BASE).read_text() == "kept"


def test_what_was_not_measured_gets_no_proxy(scorer: LanguageScorer) -> None:
    nothing = np.zeros(1)
    one = Measured(Continuations(["a"], ["a b"], None, [True]), nothing, nothing, nothing, 0.5, 1.0)
    assert with_proxy(one, scorer) is one


def test_a_climb_has_a_record_a_rollout(tmp_path: Path) -> None:
    """Scores 1 and 3 at step 0, 4 and 8 at step 2: means 2 and 6; KL means 0.5 and 2; gold by the judge itself."""
    texts = ["a warm, funny and moving film", "a dull, witless mess", "a warm and moving film", "a funny film"]
    rows = [
        {"step": step, "prompt": text[:6], "response": text[6:], "score": score, "kl": kl}
        for step, text, score, kl in zip([2, 0, 2, 0], texts, [4.0, 1.0, 8.0, 3.0], [1.0, 0.0, 3.0, 1.0], strict=True)
    ]
    (tmp_path / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    early, late = climb(tmp_path)
    assert (early["step"], early["proxy"]["mean"], early["kl"]["mean"]) == (0, 2.0, 0.5)
    assert (late["step"], late["proxy"]["mean"], late["kl"]["mean"]) == (2, 6.0, 2.0)
    gold = gold_judge().score(texts)
    assert early["gold"]["mean"] == pytest.approx((gold[1] + gold[3]) / 2)
    assert late["gold"]["mean"] == pytest.approx((gold[0] + gold[2]) / 2)
    assert late["gold"]["low"] <= late["gold"]["mean"] <= late["gold"]["high"]
