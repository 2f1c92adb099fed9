"""Where batches come from: lengths by hand, rollouts that begin where a state says, and evaluation that repeats."""

import dataclasses
from collections.abc import Callable
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
from burnish.batches import Drawn, PreparedPreferences
from burnish.config import Settings
from burnish.data.mixture import combined_prompts
from burnish.data.walk import Plan
from burnish.experience.interface import Experience, RolloutError
from burnish.experience.language.bests import Bests
from burnish.experience.language.completions import Completions
from burnish.experience.language.pairs import Pairs
from burnish.experience.language.sampling import rollout_rows
from burnish.policies.interface import Models
from burnish.policies.language.policy import LanguagePolicy
from burnish.recipes.train.batches import (
    EVALUATED_PROMPTS,
    constant_rewards,
    length,
    offline,
    online,
    same_reference,
    watched,
)
from burnish.recipes.train.rows import Data, tokenised
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
    policy, reference = (tiny.make_policy("gpt2", seed=seed, double=False) for seed in (0, 1))
    return Models(policy=policy, reference=reference)


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


def test_a_decay_that_does_not_fit_is_refused() -> None:
    stable = {"schedule": "warmup_stable_decay", "epochs": 2.0, "warmup": 0.5}
    assert length(SFT(), settings(**stable, decay=3.0), 9) == (6, 3)
    with pytest.raises(UserError, match="a warmup of 3 and a decay of 4 steps are more than the run's 6: shorten one"):
        length(SFT(), settings(**stable, decay=4.0), 9)


def test_offline_batches_begin_where_the_state_says(models: Models, tmp_path: Path, monkeypatch: Any) -> None:
    """Two epochs of three batches, of which every row is in one; without anything to tell or to remember."""
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path))
    chosen = settings()
    rows = tokenised(DPO(), chosen, models.policy, tiny.pair_rows(9), "train")
    feed = offline(DPO(), Models(policy=models.policy), chosen, Data(rows, rows), 6)
    assert set(feed.models.parts) == {"policy", "reference"}
    whole = list(islice(feed.batches(State()), 6))
    for epoch in (whole[:3], whole[3:]):
        assert sorted(torch.cat([drawn.batch.rows for drawn in epoch]).tolist()) == list(range(9))
    for start in (1, 4):
        again = next(feed.batches(State(step=99, batches=start)))
        assert torch.equal(again.batch.tokens, whole[start].batch.tokens)
        assert (again.metrics, again.samples, again.state) == ({}, [], {})
    assert same_reference(DPO(), chosen, rows, 3, 6)
    assert not same_reference(DPO(), chosen, rows, 2, 3)  # six rows, and then all nine
    assert same_reference(SFT(), chosen, rows, 2, 3)
    assert feed.evaluator is not None
    assert feed.evaluator()["loss"] == pytest.approx(0.6931472, abs=1e-5)
    assert offline(SFT(), Models(policy=models.policy), chosen, Data(rows), 6).evaluator is None


def test_online_batches_begin_where_the_state_says(models: Models) -> None:
    """Rollout 2 of three, at the β that the state has; its completions are of the policy as it is by then."""
    chosen = settings(experience=knobs(kl_target=0.1, kl_horizon=20), seed=3)
    rows = prompts(models, 20, chosen)
    feed = online(PPO(), models, chosen, Data(rows), 9)
    assert feed.evaluator is None
    whole = list(islice(feed.batches(State()), 3))
    assert [drawn.batch.rows.tolist() for drawn in whole] == [
        rollout_rows(Plan((20,)), 8, 3, number) for number in range(3)
    ]
    again = next(feed.batches(State(step=99, batches=2, experience=whole[1].state)))
    assert again.metrics == whole[2].metrics
    assert torch.equal(again.batch.tokens, whole[2].batch.tokens)
    with torch.no_grad():
        for parameter in models.policy.parameters().values():
            parameter.mul_(0.5)
    assert not torch.equal(next(feed.batches(State(batches=2))).batch.tokens, again.batch.tokens)


def test_what_a_reward_does_not_see_is_said_once(models: Models, capsys: pytest.CaptureFixture) -> None:
    """Of nine rollouts and an evaluation: the special token "a", which the chat template writes before answers."""
    policy = LanguagePolicy(models.policy.model, tiny.make_chat_tokenizer("a"))
    models = models.having(policy=policy)
    chosen = settings(experience=knobs(max_new_tokens=12), quiet=False)
    rows = prompts(models, 20, chosen)
    feed = online(PPO(), models, chosen, Data(rows, rows), 27)
    found = list(islice(feed.batches(State()), 9))
    assert sum(bool((drawn.batch.tokens[drawn.batch.mask] == 7).any()) for drawn in found) > 1
    assert feed.evaluator is not None
    feed.evaluator()
    assert capsys.readouterr().err.count("warning: completions contain a, a special token of the chat template") == 1


def test_the_reward_is_looked_up_before_anything_is_sampled(models: Models) -> None:
    chosen = settings(experience=knobs(reward="helpful"))
    with pytest.raises(UserError, match="--reward helpful is neither a folder nor a known reward"):
        online(PPO(), models, chosen, Data(prompts(models, 4, chosen)), 9)


def evaluator(models: Models, chosen: Settings, held: Any, reward: Any) -> Callable[[], dict[str, float]]:
    """What evaluates on `held`, with this reward in place of the settings' own."""
    own = dataclasses.replace(chosen, experience=dataclasses.replace(chosen.experience, reward=reward))
    found = online(PPO(), models, own, Data(held, held), 9).evaluator
    assert found is not None
    return found


def test_evaluation_is_of_every_held_prompt_and_repeats(models: Models) -> None:
    """The loss is −(scores − penalty − β·KL) at the β of the beginning; a score that rises by 1 lowers it by 1."""
    chosen = settings(experience=knobs(rollout=4, beta=0.3, kl_target=0.1, missing_eos_penalty=0.5))
    held, seen = prompts(models, 11, chosen), []

    def noted(prompts: Any, responses: Any, number: Any) -> list[float]:
        seen.append(sorted(number))
        return words(prompts, responses)

    def better(prompts: Any, responses: Any, number: Any) -> list[float]:
        return [score + 1 for score in words(prompts, responses)]

    measure = evaluator(models, chosen, held, noted)
    found = measure()
    assert measure() == found
    assert seen == [list(range(11))] * 2
    fined = 0.5 * (11 - found["val/num_eos_tokens"]) / 11
    objective = found["objective/scores"] - fined - 0.3 * found["objective/kl"]
    assert found["loss"] == pytest.approx(-objective, abs=1e-5)
    assert found["objective/kl_coef"] == 0.3
    assert "rollout" not in found
    shifted = evaluator(models, chosen, held, better)()
    assert shifted["loss"] == pytest.approx(found["loss"] - 1, abs=1e-5)
    with torch.no_grad():
        for parameter in models.policy.parameters().values():
            parameter.mul_(0.5)
    assert measure()["objective/kl"] != found["objective/kl"]


GROUPS: dict[str, tuple[Any, Any]] = {"pairs": (OnlineDPO(update_epochs=2), Pairs), "bests": (Rejection(), Bests)}


def tokens(batch: Any) -> torch.Tensor:
    return batch.batch.tokens if isinstance(batch, PreparedPreferences) else batch.tokens


@pytest.mark.parametrize("kind", GROUPS)
def test_groups_begin_where_the_state_says(kind: str, models: Models) -> None:
    """Rollout 2 of three, which is all that the state has to say."""
    algorithm, cls = GROUPS[kind]
    experience = cls(reward=words, rollout=8, max_new_tokens=4)
    chosen = settings(experience=experience, seed=3)
    rows = prompts(models, 20, chosen)
    feed = online(algorithm, models, chosen, Data(rows, rows), 9)
    whole = list(islice(feed.batches(State()), 3))
    assert [type(drawn.batch).__name__ for drawn in whole] == [
        {"pairs": "PreparedPreferences"}.get(kind, "Demonstrations")
    ] * 3
    assert [drawn.batch.rows.tolist() for drawn in whole] == [
        rollout_rows(Plan((20,)), 8, 3, number) for number in range(3)
    ]
    again = next(feed.batches(State(step=99, batches=2, experience=whole[1].state)))
    assert again.metrics == whole[2].metrics
    assert torch.equal(tokens(again.batch), tokens(whole[2].batch))
    assert feed.evaluator is not None
    found = feed.evaluator()
    assert found == feed.evaluator()
    assert found["loss"] == pytest.approx(-found["objective/scores"])
    assert ("objective/kl" in found) == (kind == "pairs")  # nothing has a use for a reference of bests
    with torch.no_grad():
        for parameter in models.policy.parameters().values():
            parameter.mul_(0.5)
    assert feed.evaluator()["objective/entropy"] != found["objective/entropy"]
    passes = algorithm.passes
    assert length(algorithm, dataclasses.replace(chosen, epochs=1.0), 20) == (5 * passes, 5 * passes)  # 8 8 4


@dataclasses.dataclass(frozen=True)
class Noted(Experience):
    """Draws what it was told: the version of the weights that would be sampled with, and the number of the rollout."""

    def draw(self, source: Any, number: int, carried: dict[str, float]) -> Drawn | None:
        assert source.reward is None  # which it has not asked for
        return None if number == 3 else Drawn(None, {"version": float(source.sampler.version), "number": float(number)})


def test_the_sampler_is_told_of_new_weights_after_each_rollout(models: Models) -> None:
    """The state's step as the loop has it by then, here 10 more per rollout; an experience may come to an end."""
    chosen, state = settings(experience=Noted()), State()
    feed = online(PPO(), models, chosen, Data(prompts(models, 4, chosen)), 9)
    found = []
    for drawn in feed.batches(state):
        found.append((drawn.metrics["number"], drawn.metrics["version"]))
        state.step += 10
    assert found == [(0, 0), (1, 10), (2, 20)]


def test_an_experience_without_a_measure_is_not_evaluated(models: Models) -> None:
    chosen = settings(experience=Noted())
    held = prompts(models, 4, chosen)
    assert online(PPO(), models, chosen, Data(held, held), 9).evaluator is None


@dataclasses.dataclass(frozen=True)
class Threefold(Noted):
    """Three rows per prompt, of all prompts at once."""

    @property
    def rows_per_prompt(self) -> int:
        return 3


def test_the_length_of_an_epoch_counts_the_rows_of_each_prompt() -> None:
    """A rollout of all 5 prompts, where none says its size, has 15 rows: 4 batches of 4 rows at most, twice."""
    chosen = settings(experience=Threefold(), epochs=1.0)
    assert length(PPO(update_epochs=2), chosen, 5) == (8, 8)


def test_of_many_held_prompts_some_are_enough(models: Models) -> None:
    chosen, seen = settings(experience=knobs(max_new_tokens=1)), []

    def noted(prompts: Any, responses: Any, number: Any) -> list[float]:
        seen.extend(number)
        return words(prompts, responses)

    evaluator(models, chosen, prompts(models, EVALUATED_PROMPTS + 9, chosen), noted)()
    assert len(set(seen)) == len(seen) == EVALUATED_PROMPTS


def test_a_reward_that_is_amiss_in_evaluation_tells_so(models: Models) -> None:
    chosen = settings(experience=knobs())

    def short(prompts: Any, responses: Any, number: Any) -> list[float]:
        return [0.0] * 2

    with pytest.raises(RolloutError, match="returned 2 scores for 4 completions") as caught:
        evaluator(models, chosen, prompts(models, 4, chosen), short)()
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
        offline(algorithm, models, chosen, Data(rows), 4)
        warned = "the last batch of an epoch has 1 row, too few for kto: change --batch-size" in capfd.readouterr().err
        assert warned == (told and isinstance(algorithm, KTO))


@pytest.mark.parametrize("experience", [knobs(rollout=4), Bests(reward=words, rollout=4, max_new_tokens=4)])
def test_rollouts_have_the_proportions_of_a_mixture(experience: Any, models: Models) -> None:
    """Parts of 6 and 9 prompts, three to one: an epoch has 6 and 2, in rollouts of 3 and 1."""
    chosen = settings(experience=experience)
    parts = [prompts(models, 6, chosen), prompts(models, 9, chosen)]
    mixed = combined_prompts(parts, [0.75, 0.25], "a:0.75,b:0.25")
    feed = online(PPO(), models, chosen, Data(mixed), 4)
    drawn = [set(one.batch.rows.tolist()) for one in islice(feed.batches(State()), 4)]
    assert [len({row for row in rows if row < 6}) for rows in drawn] == [3, 3, 3, 3]
    assert len(set.union(*drawn)) == 10


def test_a_reward_that_gives_one_number_is_warned_of_once(models: Models) -> None:
    same = {"objective/scores": 0.25, "objective/scores_std": 0.0}
    apart = {"rewards/match/mean": 0.5, "rewards/match/std": 0.5, "rewards/format/mean": 0.0, "rewards/format/std": 0.0}
    assert constant_rewards([same, same | {"objective/scores": 0.5}]) == []
    assert constant_rewards([same, same | {"objective/scores_std": 0.1}]) == []
    assert constant_rewards([{"loss": 1.0}] * 2) == []
    reward, part = constant_rewards([same | apart] * 2)
    assert reward.startswith("warning: the reward gave 0.25 to every completion of the first 2 rollouts")
    assert part.startswith("warning: the reward format gave 0 to every completion")
    told: list[str] = []
    drawn = [Drawn(None, same) for _ in range(4)]
    counts = [len(told) for _ in watched(iter(drawn), told.append)]
    assert (counts, len(told)) == ([0, 1, 1, 1], 1)
