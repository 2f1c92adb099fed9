"""Methods and experiences from outside Burnish, written in this file: trained, resumed, evaluated, by their path."""

import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor

import burnish
from burnish.algorithms.terms import Loss, Term
from burnish.batches import Demonstrations, Drawn, Episodes
from burnish.config import Settings
from burnish.experience.interface import Source
from burnish.experience.language.sampling import rollout_rows
from burnish.policies.interface import Models, SamplingKnobs
from burnish.policies.language.layout import completions_batch
from burnish.recipes.evaluate.run import build_from, evaluate_run
from burnish.run import UserError, read_jsonl, read_mapping
from burnish.training.loop import Interrupted

QUIET = Settings(quiet=True, device="cpu")


@dataclass(frozen=True)
class Mine(burnish.Algorithm):
    """Imitation with a weight."""

    name = "mine"
    learning_rate = 1e-2

    weight: float = burnish.option(1.0, "weight of the loss", gt=0)

    def loss(self, models: Models, batch: Demonstrations) -> Loss:
        return Loss({"nll": Term(-models.policy.logprobs(batch), batch.mask, weight=self.weight)})


@dataclass(frozen=True)
class Nameless(Mine):
    """The same without a name of its own."""

    name = ""


@dataclass(frozen=True)
class Wordy(burnish.Experience):
    """Completions that are paid for each of a word's ids."""

    rollout: int = burnish.option(4, "prompts per rollout", ge=1)
    tokens: int = burnish.option(3, "longest completion in tokens", ge=1)
    word: int = burnish.option(3, "the id that is paid for")

    def draw(self, source: Source, number: int, carried: dict[str, float]) -> Drawn:
        which = rollout_rows(source.prompts.plan, self.rollout, source.seed, number)
        ids = [source.prompts.ids[i] for i in which]
        streams = [number * 2**20 + k for k in range(len(ids))]
        said = source.sampler.sample(ids, streams, SamplingKnobs(source.seed, self.tokens))
        batch = completions_batch(ids, said.tokens)
        with torch.no_grad():
            logprobs = source.models.policy.logprobs(batch)
        paid = (batch.tokens == self.word).float() * batch.mask
        score = paid.sum().item() / len(ids)
        episodes = Episodes(
            tokens=batch.tokens,
            mask=batch.mask,
            lengths=batch.lengths,
            rows=torch.tensor([source.prompts.rows[i] for i in which]),
            sampler_logprobs=logprobs,
            old_logprobs=logprobs,
            rewards=paid,
            discounts=self.going_on(batch.mask),
            limit=torch.tensor(self.tokens),
        )
        drawn = 1 + carried.get("drawn", 0.0)
        return Drawn(episodes, {"score": score, "drawn": drawn}, state={"drawn": drawn})

    def going_on(self, mask: Tensor) -> Tensor:
        """1 on every chosen token but a row's last."""
        return (mask & (mask.flip(-1).cumsum(-1).flip(-1) > 1)).float()


@dataclass(frozen=True)
class Measured(Wordy):
    """With a measurement of its own."""

    def evaluate(self, source: Source, count: int) -> dict[str, float]:
        drawn = replace(self, rollout=count).draw(source, 0, {})
        return {"loss": -drawn.metrics["score"], "score": drawn.metrics["score"]}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    tiny.save_model(folder / "model")
    tiny.write_rows(folder / "texts.jsonl", tiny.text_rows(8))
    tiny.write_rows(folder / "prompts.jsonl", tiny.prompt_rows(8))
    return folder


def texts(files: Path, out: Path, **more: Any) -> dict[str, Any]:
    common = {"model": files / "model", "data": files / "texts.jsonl", "out": out, "batch_size": 4, "max_length": 40}
    return common | {"threads": 1, "quiet": True, "device": "cpu"} | more


def prompts(files: Path, out: Path, **more: Any) -> dict[str, Any]:
    return texts(files, out, data=files / "prompts.jsonl", learning_rate=0.01) | more


# An algorithm ------------------------------------------------------------------------------------------------------


def test_a_method_of_ones_own_trains_and_is_written_by_its_path(files: Path, tmp_path: Path) -> None:
    """Its loss is SFT's times its weight: 2 of it, at the same weights, is twice the loss."""
    run = burnish.train(Mine(weight=2.0), **texts(files, tmp_path / "mine", steps=3))
    plain = burnish.train(burnish.SFT(), **texts(files, tmp_path / "sft", steps=1))
    config = read_mapping(run / "config.yaml")
    assert (config["algorithm"], config["weight"]) == (f"{__name__}:Mine", 2.0)
    assert config["learning_rate"] == 1e-2
    losses = [line["loss"] for line in read_jsonl(run / "metrics.jsonl")]
    assert len(losses) == 3
    assert losses[0] == pytest.approx(2 * read_jsonl(plain / "metrics.jsonl")[0]["loss"], rel=1e-6)
    assert "mine" in (run / "model/README.md").read_text()


@pytest.mark.parametrize("cls", [Mine, Nameless])
def test_evaluation_finds_the_class_again(cls: type[Mine], files: Path, tmp_path: Path) -> None:
    """On the training data, after training: below the first loss, which untrained weights had."""
    run = burnish.train(cls(weight=0.5), **texts(files, tmp_path / "run", epochs=4))
    algorithm, settings = build_from(run)
    assert algorithm == cls(weight=0.5)
    assert (settings.batch_size, settings.epochs, settings.experience) == (4, 4.0, None)
    found = evaluate_run(run, str(files / "texts.jsonl"), None, QUIET)
    assert found["loss"] < read_jsonl(run / "metrics.jsonl")[0]["loss"]
    assert found["rows"] == 8


def interrupted(cls: type[Any], method: str, call: int, patch: pytest.MonkeyPatch) -> None:
    """Let Ctrl-C come in the `call`-th call of a method."""
    original, calls = getattr(cls, method), 0

    def counting(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            os.kill(os.getpid(), signal.SIGINT)
        return original(*arguments)

    patch.setattr(cls, method, counting)


def same(one: Path, other: Path) -> None:
    for name in ("metrics.jsonl", "model/model.safetensors"):
        assert (one / name).read_bytes() == (other / name).read_bytes()


def test_an_interrupted_run_goes_on_to_the_same_bits(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"steps": 5, "save_every": 1, "resume": True}
    whole = burnish.train(Mine(weight=2.0), **texts(files, tmp_path / "whole", **options))
    with monkeypatch.context() as patch:
        interrupted(Mine, "loss", 3, patch)
        with pytest.raises(Interrupted, match="saved up to step 3"):
            burnish.train(Mine(weight=2.0), **texts(files, tmp_path / "part", **options))
    same(burnish.train(Mine(weight=2.0), **texts(files, tmp_path / "part", **options)), whole)


def test_another_class_does_not_go_on(files: Path, tmp_path: Path) -> None:
    options = texts(files, tmp_path / "run", steps=1, resume=True)
    burnish.train(Mine(), **options)
    with pytest.raises(UserError, match=rf"algorithm \(was '{__name__}:Mine', now '{__name__}:Nameless'\)"):
        burnish.train(Nameless(), **options)


def test_an_option_of_the_method_is_set_in_the_method(files: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^weight belongs to the algorithm: set it there, as Mine\(…\)$"):
        burnish.train(Mine(), **texts(files, tmp_path / "run", weight=2.0))


# An experience -----------------------------------------------------------------------------------------------------


def test_an_experience_of_ones_own_trains_a_built_in_method(files: Path, tmp_path: Path) -> None:
    """The method's data are demonstrations otherwise: its experience makes them prompts."""
    run = burnish.train(burnish.Reinforce(), experience=Wordy(tokens=4), **prompts(files, tmp_path / "run", steps=4))
    config = read_mapping(run / "config.yaml")
    assert (config["algorithm"], config["experience"]) == ("reinforce", f"{__name__}:Wordy")
    assert (config["rollout"], config["tokens"], config["word"]) == (4, 4, 3)
    lines = read_jsonl(run / "metrics.jsonl")
    assert [line["drawn"] for line in lines] == [1, 2, 3, 4]
    assert all(0 <= line["score"] <= 4 for line in lines)
    algorithm, settings = build_from(run)
    assert (algorithm, settings.experience) == (burnish.Reinforce(), Wordy(tokens=4))


def test_it_may_be_named_by_its_path(files: Path, tmp_path: Path) -> None:
    whole = burnish.train(burnish.Reinforce(), experience=Wordy(tokens=4), **prompts(files, tmp_path / "one", steps=2))
    named = prompts(files, tmp_path / "other", steps=2, experience=f"{__name__}:Wordy", tokens=4)
    same(burnish.train(burnish.Reinforce(), **named), whole)


def test_it_replaces_the_experience_that_a_method_has(files: Path, tmp_path: Path) -> None:
    """PPO's own would ask for a reward; the critic then starts from the policy's model."""
    run = burnish.train(burnish.PPO(update_epochs=1), experience=Wordy(), **prompts(files, tmp_path / "run", steps=1))
    config = read_mapping(run / "config.yaml")
    assert (config["algorithm"], config["experience"]) == ("ppo", f"{__name__}:Wordy")
    assert "reward" not in config
    assert (run / "critic/model.safetensors").exists()


def test_an_interrupted_experience_goes_on_to_the_same_bits(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of the rollout and what it carries go on: `drawn` counts 1 to 5."""
    options = {"steps": 5, "save_every": 1, "resume": True, "experience": Wordy()}
    whole = burnish.train(burnish.Reinforce(), **prompts(files, tmp_path / "whole", **options))
    with monkeypatch.context() as patch:
        interrupted(Wordy, "draw", 3, patch)
        with pytest.raises(Interrupted, match="saved up to step 3"):
            burnish.train(burnish.Reinforce(), **prompts(files, tmp_path / "part", **options))
    part = burnish.train(burnish.Reinforce(), **prompts(files, tmp_path / "part", **options))
    same(part, whole)
    assert [line["drawn"] for line in read_jsonl(part / "metrics.jsonl")] == [1, 2, 3, 4, 5]
    with pytest.raises(UserError, match=r"word \(was 3, now 4\)"):
        burnish.train(
            burnish.Reinforce(), **prompts(files, tmp_path / "part", **options | {"experience": Wordy(word=4)})
        )


def test_it_is_evaluated_by_its_own_measure(files: Path, tmp_path: Path) -> None:
    held = {"eval_data": files / "prompts.jsonl", "eval_every": 2, "steps": 2}
    run = burnish.train(burnish.Reinforce(), experience=Measured(), **prompts(files, tmp_path / "run", **held))
    last = read_jsonl(run / "metrics.jsonl")[-1]
    assert last["eval_loss"] == -last["eval_score"]
    found = evaluate_run(run, None, None, QUIET)
    assert (found["rows"], found["prefixes"]) == (8, 8)
    assert found["loss"] == -found["score"]
    assert found["score"] == last["eval_score"]  # all eight prompts, the same random streams, the same weights
    assert evaluate_run(run, None, 3, QUIET)["prefixes"] == 3
    with pytest.raises(UserError, match=r"--prefixes 9: .* has 8 prompts"):
        evaluate_run(run, None, 9, QUIET)
    with pytest.raises(UserError, match="--max-new-tokens has no effect here"):
        evaluate_run(run, None, None, QUIET, max_new_tokens=8)


def test_without_a_measure_nothing_is_evaluated(files: Path, tmp_path: Path) -> None:
    """On built-in data there always are held-out prompts: training does not ask for what nobody wrote."""
    options = prompts(files, tmp_path / "run", data="builtin", steps=1)
    run = burnish.train(burnish.Reinforce(), experience=Wordy(), **options)
    assert "eval_loss" not in read_jsonl(run / "metrics.jsonl")[-1]
    with pytest.raises(UserError, match=r"^Wordy has no method evaluate: write one to evaluate its runs$"):
        evaluate_run(run, str(files / "prompts.jsonl"), None, QUIET)


def test_both_of_ones_own(files: Path, tmp_path: Path) -> None:
    run = burnish.train(Paid(scale=0.5), experience=Wordy(), **prompts(files, tmp_path / "run", steps=2))
    assert build_from(run)[0] == Paid(scale=0.5)
    assert build_from(run)[1].experience == Wordy()


@dataclass(frozen=True)
class Paid(burnish.Algorithm):
    """Each chosen token by what all of its row was paid."""

    scale: float = burnish.option(1.0, "weight of the payment", gt=0)

    def loss(self, models: Models, batch: Episodes) -> Loss:
        paid = self.scale * batch.rewards.sum(-1, keepdim=True)
        return Loss({"paid": Term(-paid * models.policy.logprobs(batch), batch.mask)})
