"""What is found of a policy that learned from a reward."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from burnish import train
from burnish.algorithms.ppo import PPO
from burnish.config import Settings
from burnish.data import builtin
from burnish.data.prompts import read_prompts
from burnish.data.sources import load
from burnish.experience.language.completions import Completions
from burnish.policies.language.policy import LanguagePolicy
from burnish.recipes.demo.measure import measure
from burnish.recipes.evaluate.online import rewarded
from burnish.recipes.evaluate.run import evaluate_run
from burnish.rewards.builtin import TextReward
from burnish.rewards.function import function_reward
from burnish.run import UserError

ROWS = [{"prompt": row["prompt"], "points": i} for i, row in enumerate(tiny.pair_rows(9))]
QUIET = Settings(quiet=True)
REWARD = "def score(prompts, responses, points):\n    return [p + len(r.split()) for r, p in zip(responses, points)]\n"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ppo")
    tiny.write_rows(folder / "prompts.jsonl", ROWS)
    (folder / "counting_words.py").write_text(REWARD)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        return train(
            PPO(update_epochs=1),
            model=tiny.save_model(folder / "tiny"),
            data=folder / "prompts.jsonl",
            eval_data=folder / "prompts.jsonl",
            out=folder / "run",
            reward="counting_words:score",
            rollout=4,
            max_new_tokens=5,
            temperature=0.7,
            steps=2,
            batch_size=4,
            learning_rate=0.01,
            threads=1,
            quiet=True,
        )


def test_completions_are_measured_once_and_kept(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(run.parent)
    rollouts = (run / "samples.jsonl").read_bytes()
    assert len(rollouts.splitlines()) == 8
    found = evaluate_run(run, None, 7, QUIET)
    lines = [json.loads(line) for line in (run / "evaluation_samples.jsonl").read_text().splitlines()]
    assert (run / "samples.jsonl").read_bytes() == rollouts
    assert [line["prompt"] for line in lines] == [row["prompt"] for row in ROWS[:7]]
    scores = [i + len(line["response"].split()) for i, line in enumerate(lines)]
    assert [line["score"] for line in lines] == scores
    assert found["score"]["mean"] == pytest.approx(np.mean(scores))
    assert found["kl"]["mean"] == pytest.approx(np.mean([line["kl"] for line in lines]), abs=1e-4)
    assert found["words"] == pytest.approx(np.mean([len(line["response"].split()) for line in lines]))
    assert found["eos_rate"] == pytest.approx(np.mean([line["ended"] for line in lines]))
    assert (found["rows"], found["prefixes"], found["temperature"], found["max_new_tokens"]) == (9, 7, 0.7, 5)
    assert "gold" not in found
    assert json.loads((run / "evaluation.json").read_text()) == found
    assert evaluate_run(run, None, None, QUIET)["prefixes"] == 9


def test_what_cannot_be_asked_of_it(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(run.parent)
    for count in (10, 0):
        with pytest.raises(UserError, match=f"--prefixes {count}: .* has 9 prompts"):
            evaluate_run(run, None, count, QUIET)


def test_a_reward_that_is_gone_is_named(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "counting_words", None)
    with pytest.raises(UserError, match=r"the run's reward is not available any more.*counting_words"):
        evaluate_run(run, None, None, QUIET)


def oracle(model: Any, ids: list[int], completion: int, temperature: float) -> float:
    """Σ log π of the last `completion` ids, one token at a time, with the softmax written out."""
    total = 0.0
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].double() / temperature
    for t in range(len(ids) - completion, len(ids)):
        total += (logits[t - 1, ids[t]] - logits[t - 1].exp().sum().log()).item()
    return total


def test_kl_is_that_of_the_tempered_policies() -> None:
    policy, start = tiny.make_policy(seed=1), tiny.make_policy(seed=2)
    policy.temperature = start.temperature = 0.7
    prompts = read_prompts(load(ROWS), policy.tokenizer, 20, "rows")
    knobs = Completions(rollout=5, max_new_tokens=6, temperature=0.7)
    reward = function_reward(lambda prompts, responses, points: points)
    found = rewarded(policy, start, knobs, prompts, reward, False, seed=3)
    batch = found.completed.batch
    for i in range(5):
        ids, length = batch.tokens[i, : batch.lengths[i]].tolist(), int(batch.mask[i].sum())
        expected = oracle(policy.model, ids, length, 0.7) - oracle(start.model, ids, length, 0.7)
        assert found.kl[i] == pytest.approx(expected, abs=1e-6)
    assert found.score.tolist() == [0, 1, 2, 3, 4]
    assert found.gold is None


def test_what_the_reward_does_not_see_is_said() -> None:
    """The chat template writes the special token "a" before each answer."""
    policy = LanguagePolicy(tiny.make_model(seed=1), tiny.make_chat_tokenizer("a"))
    prompts = read_prompts(load(ROWS), policy.tokenizer, 20, "rows")
    reward, said = function_reward(lambda prompts, responses, points: points), []
    knobs = Completions(rollout=5, max_new_tokens=12)
    found = rewarded(policy, policy, knobs, prompts, reward, False, 3, said.append)
    assert (found.completed.batch.tokens[found.completed.batch.mask] == 7).any()
    assert [sentence.split(",")[0] for sentence in said] == ["warning: completions contain a"]


def test_on_built_in_prefixes_it_samples_what_is_sampled_of_other_methods() -> None:
    policy, start = tiny.make_policy(seed=1), tiny.make_policy(seed=2)
    prompts = read_prompts(builtin.prefixes("held_out", 4), policy.tokenizer, 20, "prefixes")
    knobs = replace(Completions(), rollout=4, max_new_tokens=8)
    reward = TextReward("length", lambda texts: [float(len(text)) for text in texts])
    found = rewarded(policy, start, knobs, prompts, reward, True, seed=5)
    other = measure(policy, start, prompts.prompts, seed=5)
    texts = [text.split() for text in other.continuations.texts]
    for mine, theirs in zip(found.completed.texts, texts, strict=True):
        assert theirs[: len(mine.split())] == mine.split()  # theirs may go on to 64 tokens
    assert found.gold is not None
    assert found.score.tolist() == [float(len(text)) for text in found.completed.texts]


def test_the_gold_reward_is_the_gold_score() -> None:
    policy = tiny.make_policy()
    prompts = read_prompts(builtin.prefixes("held_out", 2), policy.tokenizer, 20, "prefixes")
    reward = TextReward("gold", lambda texts: [3.0 for _ in texts])
    found = rewarded(policy, policy, Completions(rollout=2, max_new_tokens=2), prompts, reward, True, seed=0)
    assert found.gold is not None
    assert found.gold.tolist() == [3.0, 3.0]
