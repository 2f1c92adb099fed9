"""The models of each method, as they are before the first update."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from tiny_scorers import make_scorer

from burnish.algorithms.dpo import DPO
from burnish.algorithms.ppo import PPO
from burnish.algorithms.reward_model import RewardModel
from burnish.algorithms.sft import SFT
from burnish.config import Settings
from burnish.experience.completions import Completions
from burnish.policies.interface import Models
from burnish.policies.language import LanguagePolicy
from burnish.policies.scalar import LanguageScorer
from burnish.recipes.models import adamw, device_of, load_models, pick_device, say, with_reference
from burnish.recipes.rows import tokenised
from burnish.run import UserError


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    tiny.save_model(folder / "model", "gpt2")
    make_scorer(seed=2, double=False).save(folder / "scorer")
    make_scorer("llama", seed=3, double=False).save(folder / "run" / "model")
    stranger = make_scorer(seed=4, double=False)
    stranger.tokenizer = tiny.make_tokenizer(reversed(tiny.WORDS))
    stranger.save(folder / "stranger")
    return folder


def settings(files: Path, **knobs: Any) -> Settings:
    experience = Completions(**knobs) if knobs else None
    return Settings(model=str(files / "model"), experience=experience, learning_rate=0.1, device="cpu", quiet=True)


def loaded(files: Path, **knobs: Any) -> tuple[LanguagePolicy, LanguagePolicy, LanguageScorer]:
    models: Any = load_models(PPO(), settings(files, **knobs))
    assert models.scorer is None
    return models.policy, models.reference, models.critic


def same_weights(one: Any, other: Any) -> bool:
    mine, theirs = one.parameters(), other.parameters()
    return all(torch.equal(mine[name], theirs[name]) for name in mine.keys() | theirs.keys())


def test_each_method_trains_its_own(files: Path) -> None:
    for algorithm in (SFT(), DPO()):
        models = load_models(algorithm, settings(files))
        assert models.trained() == {"policy": models.policy}
        assert models.reference is None
    models = load_models(RewardModel(), settings(files))
    assert models.trained() == {"scorer": models.scorer}
    models = load_models(PPO(), settings(files, reward="gold"))
    assert models.trained() == {"policy": models.policy, "critic": models.critic}


def test_policy_and_reference_begin_alike_and_are_two(files: Path) -> None:
    """At one temperature, so that the KL is between what is sampled and the same of the reference."""
    policy, reference, _ = loaded(files, reward="gold", temperature=0.7)
    assert same_weights(policy, reference)
    assert (policy.temperature, reference.temperature) == (0.7, 0.7)
    with torch.no_grad():
        for parameter in policy.parameters().values():
            parameter.add_(1.0)
    assert not same_weights(policy, reference)


def test_the_critic_begins_as_the_reward_model_or_as_what_was_named_or_as_the_policy(files: Path) -> None:
    scorer = make_scorer(seed=2, double=False)
    as_reward = loaded(files, reward=str(files / "scorer"))[2]
    as_run = loaded(files, reward=str(files / "run"))[2]
    as_named = loaded(files, reward=str(files / "run"), critic=str(files / "scorer"))[2]
    as_policy = loaded(files, reward="gold")[2]
    in_python = loaded(files, reward=lambda prompts, responses: [0.0])[2]
    for critic in (as_reward, as_named):
        assert torch.equal(critic.model.score.weight, scorer.model.score.weight)
    assert as_run.model.config.model_type == "llama"
    body = tiny.make_model("gpt2").transformer.h[0].attn.c_attn.weight
    for critic in (as_policy, in_python):
        assert torch.equal(critic.model.transformer.h[0].attn.c_attn.weight, body)
    assert not torch.equal(as_reward.model.transformer.h[0].attn.c_attn.weight, body)


def test_a_new_head_is_a_function_of_the_seed(files: Path) -> None:
    chosen = settings(files)
    one, again, other = (
        load_models(RewardModel(), dataclasses.replace(chosen, seed=seed)).scorer for seed in (0, 0, 1)
    )
    assert same_weights(one, again)
    assert not same_weights(one, other)


def test_a_critic_with_another_tokenizer_is_refused(files: Path) -> None:
    with pytest.raises(UserError, match=r"the critic .*stranger has another tokenizer than the policy"):
        loaded(files, reward="gold", critic=str(files / "stranger"))


def test_a_critic_or_model_that_is_none_is_refused(files: Path) -> None:
    with pytest.raises(UserError, match=r"--critic .*nowhere could not be loaded as a reward model"):
        loaded(files, reward="gold", critic=str(files / "nowhere"))
    with pytest.raises(UserError, match=r"--model .*nowhere could not be loaded"):
        load_models(SFT(), dataclasses.replace(settings(files), model=str(files / "nowhere")))


def test_the_optimizer_has_every_trained_parameter_once(files: Path) -> None:
    """Weight decay shrinks matrices alone; the reference is nowhere."""
    models = load_models(PPO(), settings(files, reward="gold"))
    chosen = dataclasses.replace(settings(files), weight_decay=0.25)
    optimizer = adamw(models, chosen)
    groups = optimizer.param_groups
    assert [group["weight_decay"] for group in groups] == [0.25, 0.0]
    assert [group["lr"] for group in groups] == [0.1, 0.1]
    assert {p.dim() >= 2 for p in groups[0]["params"]} == {True}
    assert {p.dim() >= 2 for p in groups[1]["params"]} == {False}
    found = [id(p) for group in groups for p in group["params"]]
    critic: Any = models.critic
    trained = [*models.policy.parameters().values(), *critic.parameters().values()]
    assert len(found) == len(set(found))
    assert set(found) == {id(p) for p in trained}


def test_a_reference_that_a_table_can_stand_for(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a method that says so: its numbers are the policy's own, and stay when the policy moves."""
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path))
    chosen = settings(files)
    models = load_models(DPO(), chosen)
    rows = tokenised(DPO(), chosen, models.policy, tiny.pair_rows(5), "train")
    complete = with_reference(DPO(), models, rows, range(5), chosen)
    assert complete.policy is models.policy
    assert complete.reference is not None
    batch = rows.batch([4, 0, 2])
    with torch.no_grad():
        expected = models.policy.logprobs(batch)
        torch.testing.assert_close(complete.reference.logprobs(batch), expected, rtol=0, atol=1e-5)
        for parameter in models.policy.parameters().values():
            parameter.mul_(0.5)
    torch.testing.assert_close(complete.reference.logprobs(batch), expected, rtol=0, atol=1e-5)
    assert with_reference(SFT(), models, rows, range(5), chosen) is models


def test_devices() -> None:
    models = Models(tiny.make_policy())
    assert device_of(models) == torch.device("cpu")
    assert device_of(Models(scorer=make_scorer())) == torch.device("cpu")
    assert pick_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    assert pick_device("cpu") == "cpu"
    with pytest.raises(UserError, match="--device abacus: PyTorch finds no such device here"):
        pick_device("abacus")


def test_quiet_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    say(Settings(), "a sentence")
    say(Settings(quiet=True), "another")
    assert capfd.readouterr() == ("", "a sentence\n")
