"""Where batches come from: lengths by hand, turns that begin where a state says, and evaluation that repeats."""

import dataclasses
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from burnish.algorithms.dpo import DPO
from burnish.algorithms.kto import KTO
from burnish.algorithms.online_dpo import OnlineDPO
from burnish.algorithms.ppo import PPO
from burnish.algorithms.rejection import Rejection
from burnish.algorithms.sft import SFT
from burnish.config import Settings
from burnish.experience.language.bests import Bests
from burnish.experience.language.completions import Completions, RolloutError, rows_of_turn
from burnish.experience.language.pairs import Pairs
from burnish.policies.interface import Models
from burnish.recipes.train.batches import EVALUATED_PROMPTS, length, offline, online, sampled_evaluator
from burnish.recipes.train.rows import tokenised
from burnish.rewards.function import function_reward
from burnish.run import UserError
from burnish.training.resume import State


def words(prompts: Any, responses: Any, **columns: Any) -> list[float]:
    return [float(len(response.split())) for response in responses]


def settings(**options: Any) -> Settings:
    return Settings(**{"batch_size": 4, "max_length": 40, "quiet": True} | options)


def knobs(**options: Any) -> Completions:
    return Completions(**{"reward": words, "rollout": 8, "max_new_tokens": 4} | options)


@pytest.fixture
def models() -> Models:
    return Models(*(tiny.make_policy("gpt2", seed=seed, double=False) for seed in (0, 1)))


def prompts(models: Models, rows: int, chosen: Settings) -> Any:
    return tokenised(PPO(), chosen, models.policy, tiny.prompt_rows(rows), "train")


@pytest.mark.parametrize(
    ("rows", "rollout", "batch", "update_epochs", "per_epoch"),
    [
        (16, 8, 4, 4, 16),  # two rollouts of two batches, four times
        (22, 8, 4, 3, 18),  # 8 8 6: 2 + 2 + 2, three times
        (20, 8, 4, 3, 15),  # 8 8 4: 2 + 2 + 1
        (5, 8, 4, 2, 4),  # a single rollout of 5: 2
        (3, 8, 4, 2, 2),
        (9, 8, 3, 1, 4),  # 8 1: 3 + 1
    ],
)
def test_the_length_of_an_epoch_of_rollouts(
    rows: int, rollout: int, batch: int, update_epochs: int, per_epoch: int
) -> None:
    chosen = settings(batch_size=batch, experience=knobs(rollout=rollout))
    algorithm = PPO(update_epochs=update_epochs)
    assert length(algorithm, dataclasses.replace(chosen, epochs=1.0), rows) == (per_epoch, per_epoch)
    assert length(algorithm, dataclasses.replace(chosen, epochs=2.5), rows) == (round(2.5 * per_epoch), per_epoch)
    assert length(algorithm, dataclasses.replace(chosen, steps=7), rows) == (7, per_epoch)
    assert length(algorithm, dataclasses.replace(chosen, epochs=0.01), rows) == (1, per_epoch)


def test_the_length_of_an_epoch_of_data() -> None:
    assert length(SFT(), settings(epochs=2.0), 9) == (6, 3)
    with pytest.raises(UserError, match="a warmup of 6 steps never ends in a run of 6"):
        length(SFT(), settings(epochs=2.0, warmup=6.0), 9)


def test_offline_batches_begin_where_the_state_says(models: Models, tmp_path: Path, monkeypatch: Any) -> None:
    """Two epochs of three batches, of which every row is in one; without anything to tell or to remember."""
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path))
    chosen = settings()
    rows = tokenised(DPO(), chosen, models.policy, tiny.pair_rows(9), "train")
    turns = offline(DPO(), Models(models.policy), chosen, rows, rows, 6)
    assert turns.models.reference is not None
    whole = list(islice(turns.batches(State()), 6))
    for epoch in (whole[:3], whole[3:]):
        assert sorted(torch.cat([drawn.batch.rows for drawn in epoch]).tolist()) == list(range(9))
    for start in (1, 4):
        again = next(turns.batches(State(step=99, batches=start)))
        assert torch.equal(again.batch.tokens, whole[start].batch.tokens)
        assert (again.metrics, again.samples, again.state) == ({}, [], {})
    assert turns.evaluator is not None
    assert turns.evaluator()["loss"] == pytest.approx(0.6931472, abs=1e-5)
    assert offline(SFT(), Models(models.policy), chosen, rows, None, 6).evaluator is None


def test_online_batches_begin_where_the_state_says(models: Models) -> None:
    """Turn 2 of three, at the β that the state has; its completions are of the policy as it is by then."""
    chosen = settings(experience=knobs(kl_target=0.1, kl_horizon=20), seed=3)
    rows = prompts(models, 20, chosen)
    turns = online(PPO(), models, chosen, rows, None, 9)
    assert turns.evaluator is None
    whole = list(islice(turns.batches(State()), 3))
    assert [drawn.batch.rows.tolist() for drawn in whole] == [rows_of_turn(20, 8, 3, turn) for turn in range(3)]
    again = next(turns.batches(State(step=99, batches=2, experience=whole[1].state)))
    assert again.metrics == whole[2].metrics
    assert torch.equal(again.batch.tokens, whole[2].batch.tokens)
    with torch.no_grad():
        for parameter in models.policy.parameters().values():
            parameter.mul_(0.5)
    assert not torch.equal(next(turns.batches(State(batches=2))).batch.tokens, again.batch.tokens)


def test_the_reward_is_looked_up_before_anything_is_sampled(models: Models) -> None:
    chosen = settings(experience=knobs(reward="helpful"))
    with pytest.raises(UserError, match="--reward helpful is no folder and no reward"):
        online(PPO(), models, chosen, prompts(models, 4, chosen), None, 9)


def test_evaluation_is_of_every_held_prompt_and_repeats(models: Models) -> None:
    """The loss is −(scores − penalty − β·KL) at the β of the beginning; a score that rises by 1 lowers it by 1."""
    chosen = settings(experience=knobs(rollout=4, beta=0.3, kl_target=0.1, missing_eos_penalty=0.5))
    held, seen = prompts(models, 11, chosen), []

    def noted(prompts: Any, responses: Any, number: Any) -> list[float]:
        seen.append(sorted(number))
        return words(prompts, responses)

    def better(prompts: Any, responses: Any, number: Any) -> list[float]:
        return [score + 1 for score in words(prompts, responses)]

    assert chosen.experience is not None
    measure = sampled_evaluator(models, chosen.experience, held, function_reward(noted), 0)
    found = measure()
    assert measure() == found
    assert seen == [list(range(11))] * 2
    fined = 0.5 * (11 - found["val/num_eos_tokens"]) / 11
    objective = found["objective/scores"] - fined - 0.3 * found["objective/kl"]
    assert found["loss"] == pytest.approx(-objective, abs=1e-5)
    assert found["objective/kl_coef"] == 0.3
    assert "rollout" not in found
    shifted = sampled_evaluator(models, chosen.experience, held, function_reward(better), 0)()
    assert shifted["loss"] == pytest.approx(found["loss"] - 1, abs=1e-5)
    with torch.no_grad():
        for parameter in models.policy.parameters().values():
            parameter.mul_(0.5)
    assert measure()["objective/kl"] != found["objective/kl"]


GROUPS: dict[str, tuple[Any, Any]] = {"pairs": (OnlineDPO(update_epochs=2), Pairs), "bests": (Rejection(), Bests)}


@pytest.mark.parametrize("kind", GROUPS)
def test_groups_begin_where_the_state_says(kind: str, models: Models) -> None:
    """Turn 2 of three, which is all that the state has to say."""
    algorithm, cls = GROUPS[kind]
    experience = cls(reward=words, rollout=8, max_new_tokens=4)
    chosen = settings(experience=experience, seed=3)
    rows = prompts(models, 20, chosen)
    turns = online(algorithm, models, chosen, rows, rows, 9)
    whole = list(islice(turns.batches(State()), 3))
    assert [type(drawn.batch).__name__ for drawn in whole] == [{"pairs": "Preferences"}.get(kind, "Demonstrations")] * 3
    assert [drawn.batch.rows.tolist() for drawn in whole] == [rows_of_turn(20, 8, 3, turn) for turn in range(3)]
    again = next(turns.batches(State(step=99, batches=2, experience=whole[1].state)))
    assert again.metrics == whole[2].metrics
    assert torch.equal(again.batch.tokens, whole[2].batch.tokens)
    assert turns.evaluator is not None
    found = turns.evaluator()
    assert found == turns.evaluator()
    assert found["loss"] == pytest.approx(-found["objective/scores"])
    with torch.no_grad():
        for parameter in models.policy.parameters().values():
            parameter.mul_(0.5)
    assert turns.evaluator()["objective/kl"] != found["objective/kl"]
    passes = getattr(algorithm, "update_epochs", 1)
    assert length(algorithm, dataclasses.replace(chosen, epochs=1.0), 20) == (5 * passes, 5 * passes)  # 8 8 4


def test_of_many_held_prompts_some_are_enough(models: Models) -> None:
    chosen, seen = settings(experience=knobs(max_new_tokens=1)), []

    def noted(prompts: Any, responses: Any, number: Any) -> list[float]:
        seen.extend(number)
        return words(prompts, responses)

    assert chosen.experience is not None
    held = prompts(models, EVALUATED_PROMPTS + 9, chosen)
    sampled_evaluator(models, chosen.experience, held, function_reward(noted), 0)()
    assert len(set(seen)) == len(seen) == EVALUATED_PROMPTS


def test_a_reward_that_is_amiss_in_evaluation_tells_so(models: Models) -> None:
    chosen = settings(experience=knobs())
    assert chosen.experience is not None
    reward = function_reward(lambda prompts, responses, number: [0.0] * 2)
    with pytest.raises(RolloutError, match="returned 2 scores for 4 completions") as caught:
        sampled_evaluator(models, chosen.experience, prompts(models, 4, chosen), reward, 0)()
    assert len(caught.value.rollout) == 4


@pytest.mark.parametrize(("batch_size", "told"), [(3, True), (4, False), (10, False)])
def test_a_last_batch_of_one_row_is_told_where_it_says_nothing(
    batch_size: int, told: bool, models: Models, capfd: pytest.CaptureFixture[str], monkeypatch: Any, tmp_path: Path
) -> None:
    """Ten responses of five pairs: three, three, three and one."""
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path))
    for algorithm in (KTO(), DPO()):
        chosen = settings(batch_size=batch_size, quiet=False)
        rows = tokenised(algorithm, chosen, models.policy, tiny.pair_rows(5), "train")
        capfd.readouterr()
        offline(algorithm, models, chosen, rows, None, 4)
        warned = "the last batch of an epoch has 1 row, too few for kto: change --batch-size" in capfd.readouterr().err
        assert warned == (told and isinstance(algorithm, KTO))
