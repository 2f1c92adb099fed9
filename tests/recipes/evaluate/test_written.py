"""What an evaluation says of sampled text: counted again from samples drawn by hand, and of a collapsed run."""

import json
from pathlib import Path

import numpy as np
import pytest
import tiny

from burnish import DPO, train
from burnish.config import Settings
from burnish.evaluation.continuations import Continuations
from burnish.evaluation.text import distinct_n, repetition
from burnish.policies.language.sampler import sample
from burnish.recipes.demo.measure import Measured
from burnish.recipes.evaluate.run import evaluate_run
from burnish.recipes.evaluate.written import PROMPTS, beside_start, sampled_statistics, statistics_of

IDS = [[tiny.BOS, 3 + i % 15, 3 + (7 * i) % 15] for i in range(PROMPTS + 6)]


def test_the_numbers_are_of_plain_samples() -> None:
    policy = tiny.make_policy(seed=1)
    drawn = sample(policy, IDS, seed=4, max_new_tokens=9)
    texts = policy.tokenizer.batch_decode(drawn.tokens, skip_special_tokens=True)
    found = sampled_statistics(policy, IDS, 4, 9)
    assert found.texts == len(IDS)
    assert found.words == pytest.approx(np.mean([len(text.split()) for text in texts]))
    assert found.distinct_2 == distinct_n(texts)
    assert found.repetition == pytest.approx(np.mean([repetition(text) for text in texts]))
    assert found.eos_rate == np.mean([ids[-1] == tiny.EOS for ids in drawn.tokens])
    flat = [value for row in drawn.logprobs for value in row]
    assert found.entropy == pytest.approx(-sum(flat) / len(flat))


def test_the_start_answers_the_first_prompts_and_what_changed_is_warned_of() -> None:
    policy, start = tiny.make_policy(seed=1), tiny.make_policy(seed=2)
    before = sampled_statistics(start, IDS[:PROMPTS], 4, 9)
    same = beside_start(before, start, IDS, 4, 9)
    assert same["start"] == before.as_dict()
    assert same["warnings"] == []
    assert same["entropy"] == before.entropy
    policy.model.lm_head.weight.data *= 30  # now every next token is as good as certain
    changed = beside_start(sampled_statistics(policy, IDS, 4, 9), start, IDS, 4, 9)
    assert changed["start"] == before.as_dict()
    assert any("entropy" in warning for warning in changed["warnings"])


def test_a_temperature_that_makes_texts_sure_is_no_collapse() -> None:
    policy = tiny.make_policy(seed=1)
    cold = sampled_statistics(policy, IDS, 4, 9, 0.05)
    assert cold.entropy is not None
    assert cold.entropy < 0.25
    found = beside_start(cold, policy, IDS[:PROMPTS], 4, 9, 0.05)
    assert found["start"]["entropy"] < 0.3
    assert found["warnings"] == []


def test_continuations_count_without_their_prompts() -> None:
    texts = ["a b good film", "a b good film good film"]
    found = Continuations(["a b", "a b"], texts, None, [True, False], [[-1.0, -3.0], [-2.0]])
    nothing = np.zeros(2)
    counted = statistics_of(Measured(found, nothing, nothing, nothing, 0.0, 0.0))
    assert (counted.words, counted.eos_rate, counted.entropy) == (3.0, 0.5, 2.0)
    assert counted.distinct_2 == 2 / 4  # good film | good film, film good, good film
    without = Continuations(["a b"], ["a b c"], None, [True])
    assert statistics_of(Measured(without, nothing, nothing, nothing, 0.0, 0.0)).entropy is None


def test_the_evaluation_of_a_collapsed_run_warns(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Far too large a learning rate on three words: on the user's data too the warning comes, and it stands in the
    file, while every pair is in the right order."""
    model = tiny.save_model(tmp_path / "model", n_embd=32)
    texts = tiny.sentences(24, longest=6)
    rows = [
        {"prompt": text, "chosen": "good good good", "rejected": tiny.sentences(1, i)[0]}
        for i, text in enumerate(texts)
    ]
    data = tiny.write_rows(tmp_path / "rows.jsonl", rows)
    run = train(
        DPO(beta=0.1), model=str(model), data=str(data), eval_data=str(data), out=tmp_path / "run",
        learning_rate=3e-2, steps=30, batch_size=8, quiet=True, threads=1, device="cpu", max_length=40,
    )  # fmt: skip
    found = evaluate_run(run, None, None, Settings(threads=1, device="cpu"))
    assert found["texts"] == 24
    assert found["warnings"] == json.loads((run / "evaluation.json").read_text())["warnings"]
    assert any("nearly the same whatever the prompt" in warning for warning in found["warnings"])
    assert found["rewards/accuracies"] > 0.9
    assert f"warning: {found['warnings'][0]}" in capfd.readouterr().err
