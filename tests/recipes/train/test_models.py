"""The models of each method, as they are before the first update."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from tiny_mixtures import save_mixture
from tiny_scorers import make_scorer

from burnish.algorithms.distil import Distil
from burnish.algorithms.dpo import DPO
from burnish.algorithms.online_dpo import OnlineDPO
from burnish.algorithms.ppo import PPO
from burnish.algorithms.rejection import Rejection
from burnish.algorithms.reward_model import RewardModel
from burnish.algorithms.sft import SFT
from burnish.config import Settings
from burnish.experience.language.bests import Bests
from burnish.experience.language.completions import Completions
from burnish.experience.language.pairs import Pairs
from burnish.experience.language.taught import TaughtCompletions
from burnish.policies.interface import Models
from burnish.policies.language.adapters import Lora
from burnish.policies.language.frozen import KINDS
from burnish.policies.language.loading import Loading
from burnish.policies.language.policy import LanguagePolicy, load_policy
from burnish.policies.language.reference import StartingAdapter
from burnish.policies.language.scorer import LanguageScorer, load_scorer
from burnish.recipes.train.models import (
    count_trained,
    device_of,
    left_out,
    load_models,
    loading_of,
    pick_device,
    say,
    with_reference,
)
from burnish.recipes.train.rows import tokenised
from burnish.run import UserError
from burnish.training.language.optimizer import make_optimizer


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    tiny.save_model(folder / "model", "gpt2")
    make_scorer(seed=2, double=False).save(folder / "scorer")
    make_scorer("llama", seed=3, double=False).save(folder / "run" / "model")
    stranger = make_scorer(seed=4, double=False)
    stranger.tokenizer = tiny.make_tokenizer(reversed(tiny.WORDS))
    stranger.save(folder / "stranger")
    tiny.save_model(folder / "other", "gpt2")
    stranger.tokenizer.save_pretrained(folder / "other")
    return folder


def settings(files: Path, **knobs: Any) -> Settings:
    experience = Completions(**knobs) if knobs else None
    return Settings(model=str(files / "model"), experience=experience, learning_rate=0.1, device="cpu", quiet=True)


def loaded(files: Path, **knobs: Any) -> tuple[LanguagePolicy, LanguagePolicy, LanguageScorer]:
    models: Any = load_models(PPO(), settings(files, **knobs))
    assert set(models.parts) == {"policy", "reference", "critic"}
    return models.policy, models.reference, models.critic


def same_weights(one: Any, other: Any) -> bool:
    """Whether what is trained of one is the same in the other."""
    theirs = dict(other.model.named_parameters())
    return all(torch.equal(parameter, theirs[name]) for name, parameter in one.parameters().items())


def test_each_method_trains_its_own(files: Path) -> None:
    for algorithm in (SFT(), DPO()):
        models = load_models(algorithm, settings(files))
        assert models.trained() == {"policy": models.policy}
        assert set(models.parts) == {"policy"}
    models = load_models(RewardModel(), settings(files))
    assert models.trained() == {"scorer": models.scorer}
    models = load_models(PPO(), settings(files, reward="gold"))
    assert models.trained() == {"policy": models.policy, "critic": models.critic}


def test_a_reference_is_loaded_only_where_the_experience_uses_one(files: Path) -> None:
    """A KL penalty and DPO's pairs do; bests, and pairs against the policy as it is now, do not."""
    uses = {
        Completions(reward="gold"): True,
        Completions(reward="gold", beta=0.0): False,
        Pairs(reward="gold"): True,
        Pairs(reward="gold", refresh_reference=True): False,
        Bests(reward="gold"): False,
    }
    methods = {Completions: PPO(), Pairs: OnlineDPO(), Bests: Rejection()}
    for experience, used in uses.items():
        models = load_models(methods[type(experience)], dataclasses.replace(settings(files), experience=experience))
        assert ("reference" in models) == used
        assert ("critic" in models) == isinstance(experience, Completions)


def test_policy_and_reference_begin_alike_and_are_two(files: Path) -> None:
    """At one temperature, so that the KL is between what is sampled and the same of the reference."""
    policy, reference, _ = loaded(files, reward="gold", temperature=0.7)
    assert same_weights(policy, reference)
    assert (policy.temperature, reference.temperature) == (0.7, 0.7)
    with torch.no_grad():
        for parameter in policy.parameters().values():
            parameter.add_(1.0)
    assert not same_weights(policy, reference)


def test_what_is_not_trained_takes_the_memory_of_its_files(files: Path, tmp_path: Path) -> None:
    """A reference and a LoRA base, but neither policy nor critic, and nothing with a dtype that is asked for."""
    load_policy(files / "model").save(tmp_path / "half", "bfloat16")
    how = dataclasses.replace(settings(files, reward="gold"), model=str(tmp_path / "half"))

    def matrices(model: Any) -> set[torch.dtype]:
        layers = [(name, m.weight) for name, m in model.model.named_modules() if type(m) in KINDS]
        return {weight.dtype for name, weight in layers if "score" not in name and not weight.requires_grad}

    models: Any = load_models(PPO(), how)
    assert matrices(models.reference) == {torch.bfloat16}
    for trained in (models.policy, models.critic):
        assert {p.dtype for p in trained.model.parameters()} == {torch.float32}
    adapted: Any = load_models(PPO(), dataclasses.replace(how, lora_rank=2))
    assert matrices(adapted.policy) == matrices(adapted.critic) == {torch.bfloat16}
    assert {p.dtype for p in adapted.policy.parameters().values()} == {torch.float32}


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
    with pytest.raises(UserError, match=r"the critic .*stranger has a different tokenizer than the policy"):
        loaded(files, reward="gold", critic=str(files / "stranger"))


def test_a_teacher_with_another_tokenizer_is_refused(files: Path) -> None:
    taught = dataclasses.replace(settings(files), experience=TaughtCompletions(teacher=str(files / "other")))
    with pytest.raises(UserError, match=r"the teacher .*other has a different tokenizer than the policy"):
        load_models(Distil(), taught)


def test_a_critic_or_model_that_is_none_is_refused(files: Path) -> None:
    with pytest.raises(UserError, match=r"--critic .*nowhere could not be loaded as a reward model"):
        loaded(files, reward="gold", critic=str(files / "nowhere"))
    with pytest.raises(UserError, match=r"--model .*nowhere could not be loaded"):
        load_models(SFT(), dataclasses.replace(settings(files), model=str(files / "nowhere")))


def test_a_reference_that_a_table_can_stand_for(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a method that says so: its numbers are the policy's own, and stay when the policy moves."""
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path))
    chosen = settings(files)
    models = load_models(DPO(), chosen)
    rows = tokenised(DPO(), chosen, models.policy, tiny.pair_rows(5), "train")
    complete = with_reference(DPO(), models, rows, range(5), chosen)
    assert complete.policy is models.policy
    assert "reference" not in models
    batch = rows.batch([4, 0, 2])
    with torch.no_grad():
        expected = models.policy.logprobs(batch)
        torch.testing.assert_close(complete.reference.logprobs(batch), expected, rtol=0, atol=1e-5)
        for parameter in models.policy.parameters().values():
            parameter.mul_(0.5)
    torch.testing.assert_close(complete.reference.logprobs(batch), expected, rtol=0, atol=1e-5)
    assert with_reference(SFT(), models, rows, range(5), chosen) is models


def test_devices() -> None:
    models = Models(policy=tiny.make_policy())
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


# Adapters ----------------------------------------------------------------------------------------------------------


def with_lora(files: Path, rank: int = 2, **knobs: Any) -> Settings:
    return dataclasses.replace(settings(files, **knobs), lora_rank=rank)


def test_adapters_are_trained_where_a_rank_is_given(files: Path) -> None:
    """GPT-2 of width 16 has 512 parameters a rank (see test_adapters), and a head 16."""
    for algorithm, expected in ((SFT(), 1024), (DPO(), 1024), (RewardModel(), 1024 + 16)):
        models = load_models(algorithm, with_lora(files))
        parameters = [p for group in make_optimizer(models, with_lora(files)).param_groups for p in group["params"]]
        assert sum(p.numel() for p in parameters) == expected
        assert count_trained(models).startswith(f"trainable parameters {expected:,} of ")
    assert load_models(SFT(), settings(files)).policy.adapter is None  # type: ignore[attr-defined]


def test_weights_without_an_adapter_are_named_with_their_share(files: Path, tmp_path: Path) -> None:
    """Mixtral's layer has 768 weights of attention, 4,608 of experts and 64 of the router (see test_lora_targets)."""
    assert left_out(load_models(SFT(), with_lora(files))) == ""
    mixture = str(save_mixture(tmp_path / "mixture", "mixtral"))
    assert left_out(load_models(SFT(), dataclasses.replace(with_lora(files), model=mixture))) == (
        "LoRA leaves out 1.2 % of the layers' weights: gate.weight"
    )


def test_options_reach_the_adapter(files: Path) -> None:
    asked = dataclasses.replace(with_lora(files, 3), lora_alpha=5, lora_dropout=0.25, lora_targets="c_fc", seed=4)
    policy: Any = load_models(SFT(), asked).policy
    config = policy.adapter.peft_config["default"]
    assert (config.r, config.lora_alpha, config.lora_dropout) == (3, 5, 0.25)
    assert {name.split(".lora_")[0].split(".")[-1] for name in policy.parameters()} == {"c_fc"}
    other: Any = load_models(SFT(), dataclasses.replace(asked, seed=5)).policy
    assert same_weights(policy, load_models(SFT(), asked).policy)
    assert not same_weights(policy, other)


def test_ppo_with_adapters_holds_no_second_policy(files: Path) -> None:
    """Policy and critic have an adapter each, and the reference is the policy's own base."""
    models: Any = load_models(PPO(), with_lora(files, reward="gold", temperature=0.7))
    assert isinstance(models.reference, StartingAdapter)
    assert models.reference.lender is models.policy
    assert models.policy.temperature == 0.7
    assert models.policy.adapter is not None
    assert models.critic.adapter is not None
    assert models.policy.model is not models.critic.model
    heads = {name for name in models.critic.parameters() if "lora" not in name}
    assert heads == {"score.modules_to_save.default.weight"}


@pytest.mark.parametrize("option", ["reward", "critic"])
def test_a_critic_that_begins_as_an_adapter_goes_on_with_it(files: Path, tmp_path: Path, option: str) -> None:
    """Whatever its rank; the critic of a policy's adapter has that of the policy, and its rank has to be the run's."""
    scorer = load_scorer(files / "model", lora=Lora(5), seed=3)
    with torch.no_grad():
        for parameter in scorer.parameters().values():
            parameter += 0.1
    scorer.save(tmp_path / "adapter")
    knobs = {"reward": "gold"} | {option: str(tmp_path / "adapter")}
    models: Any = load_models(PPO(), with_lora(files, **knobs))
    assert same_weights(models.critic, scorer)
    whole: Any = load_models(PPO(), settings(files, **knobs))
    assert whole.critic.adapter is None
    batch = tiny.demonstrations(tiny.random_rows(3))
    torch.testing.assert_close(whole.critic.scores(batch), scorer.scores(batch), rtol=0, atol=1e-5)


def test_ppo_from_a_policys_adapter(files: Path, tmp_path: Path) -> None:
    policy = load_policy(files / "model", lora=Lora(2))
    with torch.no_grad():
        for parameter in policy.parameters().values():
            parameter += 0.1
    policy.save(tmp_path / "adapter")
    asked = dataclasses.replace(with_lora(files, reward="gold"), model=str(tmp_path / "adapter"))
    models: Any = load_models(PPO(), asked)
    assert same_weights(models.policy, policy)
    bodies = {name: p for name, p in models.critic.parameters().items() if "lora" in name}
    assert all(torch.equal(p, policy.parameters()[name]) for name, p in bodies.items())
    with pytest.raises(UserError, match="is an adapter with rank 2: set lora_rank 2"):
        load_models(PPO(), dataclasses.replace(asked, lora_rank=3))


def test_how_models_are_loaded_is_what_the_options_say() -> None:
    assert loading_of(Settings()) == Loading()
    said = Settings(revision="v2", trust_remote_code=True, dtype="auto", load_in_8bit=True)
    assert loading_of(said) == Loading("v2", True, "auto", 8)
    assert loading_of(Settings(load_in_4bit=True)).bits == 4
    with pytest.raises(UserError, match="load_in_4bit and load_in_8bit cannot go together"):
        loading_of(Settings(load_in_4bit=True, load_in_8bit=True))
    with pytest.raises(UserError, match="precision bfloat16 and dtype float16 cannot go together"):
        loading_of(Settings(precision="bfloat16", dtype="float16"))
    with pytest.raises(UserError, match="precision auto and dtype float16 cannot go together"):
        loading_of(Settings(precision="auto", dtype="float16"))
