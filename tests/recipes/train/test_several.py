"""Runs in several processes: the same numbers as in one, and what is refused."""

import inspect
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import ranks
import tiny
import tiny_scorers
import torch
from safetensors.torch import load_file

from burnish.algorithms.table import LANGUAGE, load
from burnish.config import build
from burnish.experience.interface import Experience
from burnish.policies.interface import Models
from burnish.policies.language.reference import StartingAdapter
from burnish.recipes.train.given import NOTHING, Given
from burnish.recipes.train.run import run_training
from burnish.recipes.train.several import idle, of_process
from burnish.run import UserError, read_jsonl, read_mapping
from burnish.run.world import ALONE, World

SAME = {
    "dpo": ("robust_dpo", "hinge", "ipo", "simpo", "apo_zero", "apo_down", "exo", "nca", "sppo"),
    "cpo": ("orpo",),
    "grpo": ("gspo", "cispo"),
}
"""Methods that differ from another one in formulas about single rows alone, and are not trained here."""
FORMULAS = {"losses", "rewards", "ratios", "weights", "policy_losses"}
METHODS = [name for name in LANGUAGE if not any(name in others for others in SAME.values())]
DATA = {"demonstrations": "texts", "preferences": "pairs", "feedback": "pairs", "prompts": "prompts"}
MORE: dict[str, dict[str, Any]] = {
    "sft, noise": {"neftune": 5.0, "accumulate": 2},
    "sft, streamed": {"streaming": True, "accumulate": 2},
    "dpo, streamed": {"streaming": True, "lora_rank": 2, "dtype": "auto"},
    "rloo, models": {"reward": "scorer,words"},
    "grpo, dialogues": {"environment": "Asks", "reward": None, "max_turns": 2, "model": "chat"},
    "sft, per text": {"over": "sequence", "accumulate": 2, "group_by_length": True},
    "sft, adapter": {"lora_rank": 2, "dtype": "auto", "accumulate": 5, "max_grad_norm": 0.1},
    "sft, one row": {"batch_size": 1},  # two of three processes have no row, in evaluation too
    "dpo, best": {"save_best": True, "eval_every": 1, "patience": 1, "learning_rate": 0.2},
    "kto, adapter": {"lora_rank": 2, "dtype": "auto", "desirable_weight": 1.5},
    "ppo, adapter": {"lora_rank": 2, "kl_target": 0.5, "stop_kl": 0.01},
    "grpo, few": {
        "batch_size": 2,
        "rollout": 1,
        "completions_per_prompt": 2,
        "redraws": 2,
    },  # one process may sample nothing
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    tiny.save_model(folder / "model", "gpt2")  # Llama's norms compute in float32
    for part, count, seed in (("", 7, 0), ("held_", 3, 1)):
        tiny.write_rows(folder / f"{part}texts.jsonl", tiny.text_rows(count, seed))
        tiny.write_rows(folder / f"{part}pairs.jsonl", tiny.pair_rows(count, seed))
        tiny.write_rows(folder / f"{part}prompts.jsonl", tiny.prompt_rows(count, seed))
    tiny.save_model(folder / "other", "gpt2", seed=1)
    tiny.save_model(folder / "chat", "gpt2")
    tiny.make_chat_tokenizer().save_pretrained(folder / "chat")
    tiny_scorers.make_classifier("gpt2").double().save_pretrained(folder / "scorer")
    tiny.make_tokenizer().save_pretrained(folder / "scorer")
    tiny.write_rows(folder / "held_one.jsonl", tiny.text_rows(1, 2))
    return folder


def double(models: Models) -> None:
    for part in models.parts.values():
        if not isinstance(part.model, StartingAdapter):
            part.model.model.double()
    for part in models.parts.values():
        if isinstance(part.model, StartingAdapter):
            part.model.start = {name: tensor.double() for name, tensor in part.model.start.items()}


def words(prompts: list[str], responses: list[str]) -> list[float]:
    """A reward, which is asked in the main process alone."""
    assert os.environ["RANK"] == "0"
    return [len(set(one.split())) + 0.1 * len(one) for one in responses]


class Asks:
    """An environment of two turns, in the main process alone."""

    def reset(self, row: dict[str, Any], seed: int) -> list[dict[str, str]]:
        assert os.environ["RANK"] == "0"
        self.turns = 0
        return [{"role": "user", "content": row["prompt"]}]

    def step(self, text: str) -> tuple[list[dict[str, str]], float, bool]:
        self.turns += 1
        return [{"role": "user", "content": "good film"}], float(len(text)) / 7, self.turns == 2


def changed(files: Path, own: dict[str, Any]) -> dict[str, Any]:
    """The options of `MORE`, whose objects and paths are known here."""
    known = {"Asks": Asks, "chat": str(files / "chat"), "scorer,words": f"{files / 'scorer'}:2,{__name__}:words:0.5"}
    return {key: known.get(value, value) if isinstance(value, str) else value for key, value in own.items()}


def options(files: Path, out: Path, method: str, **more: Any) -> dict[str, Any]:
    """Batches of 5 and 2 rows of 7: neither 2 nor 3 processes divide 5, and of 3 one has no row of 2."""
    data = DATA[load(method).data]
    sampled: dict[str, Any] = {}
    if load(method).experience:  # frozen models in float64, as the trained one
        sampled = {"rollout": 5, "max_new_tokens": 4, "dtype": "auto"} | (
            {"teacher": str(files / "other")} if method == "distil" else {"reward": words}
        )
    common = {"model": str(files / "model"), "data": str(files / f"{data}.jsonl"), "out": str(out), "steps": 2}
    held = {"eval_data": str(files / f"held_{data}.jsonl"), "eval_every": 2}
    return (
        common
        | held
        | {"batch_size": 5, "learning_rate": 0.01, "threads": 1, "quiet": True, "max_length": 40}
        | sampled
        | more
    )


EVERY = [*METHODS, *MORE]
CASES = {1: EVERY, 2: ["sft, per text", "kto, adapter", "grpo, few"], 3: EVERY}


def train_all(files: str, out: str, cache: str) -> None:
    os.environ["BURNISH_CACHE"] = cache
    for case in CASES[int(os.environ["WORLD_SIZE"])]:
        method = case.split(",")[0]
        run_training(
            *build(
                load(method), options(Path(files), Path(out, case), method, **changed(Path(files), MORE.get(case, {})))
            ),
            NOTHING,
            double,
        )


@pytest.fixture(scope="module")
def runs(files: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Every case with 1, 2 and 3 processes, each with a cache of its own."""
    found = {size: tmp_path_factory.mktemp(f"{size} processes") for size in (1, 2, 3)}
    for size, out in found.items():
        ended = ranks.together(size, out / "ends", train_all, str(files), str(out), str(out / "cache"))
        assert ended == [None] * size
    return found


def texts(run: Path) -> str:
    """What was sampled, without the numbers."""
    path = run / "samples.jsonl"
    return re.sub(r"-?\d+\.\d+(e-\d+)?", "", path.read_text()) if path.exists() else ""


def last_checkpoint(run: Path) -> dict[str, torch.Tensor]:
    return load_file(max((run / "checkpoints").glob("step-*")) / "tensors.safetensors")


@pytest.mark.parametrize(("size", "case"), [(size, case) for size in (2, 3) for case in CASES[size]])
def test_the_numbers_do_not_depend_on_the_processes(runs: dict[int, Path], case: str, size: int) -> None:
    """Losses, metrics, gradient norms, weights and optimizer state, in float64; the model is saved in float32."""
    one, several = runs[1] / case, runs[size] / case
    assert (one / "metrics.jsonl").read_text().count("eval_loss") >= 1
    for expected, row in zip(read_jsonl(one / "metrics.jsonl"), read_jsonl(several / "metrics.jsonl"), strict=True):
        assert list(row) == list(expected)
        if abs(expected.get("rewards/margins", 1.0)) < 1e-12:  # whose signs are rounding
            del row["rewards/accuracies"], expected["rewards/accuracies"]
        assert row == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert texts(several) == texts(one)
    before, after = last_checkpoint(one), last_checkpoint(several)
    assert before.keys() == after.keys()
    assert any(tensor.dtype == torch.float64 and tensor.abs().max() > 0.01 for tensor in before.values())
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor, rtol=1e-9, atol=1e-9, msg=name)
    files = {path.relative_to(one) for path in one.rglob("*") if path.is_file()}
    logs = {Path(f"logs/rank-{rank:03}.txt") for rank in range(size)}
    assert files | logs == {path.relative_to(several) for path in several.rglob("*") if path.is_file()}
    (weights,) = (path for path in files if path.parts[0] == "model" and path.suffix == ".safetensors")
    for name, tensor in load_file(one / weights).items():
        torch.testing.assert_close(load_file(several / weights)[name], tensor, rtol=1e-6, atol=1e-7, msg=name)


def test_the_reference_has_the_same_bits(runs: dict[int, Path]) -> None:
    one, other = (
        {path.name: load_file(path) for path in (runs[size] / "cache/reference").iterdir()} for size in (1, 3)
    )
    assert len(one) > 2
    assert one.keys() == other.keys()
    for name, table in one.items():
        assert all(torch.equal(other[name][key], tensor) for key, tensor in table.items())


def test_the_best_weights_are_those_of_an_earlier_step(runs: dict[int, Path]) -> None:
    for out in (runs[1], runs[3]):
        assert [path.name for path in (out / "dpo, best/checkpoints/best").glob("step-*")] == ["step-000001"]


def test_the_number_of_processes_is_noted(runs: dict[int, Path]) -> None:
    noted = [read_mapping(out / "grpo, few/environment.json").get("processes") for out in runs.values()]
    assert noted == [None, 2, 3]


def test_what_is_left_out_differs_in_its_formula_alone() -> None:
    for method, others in SAME.items():
        same = {cls for cls in load(method).mro() if cls is not load(method)}
        for name in others:
            own = [cls for cls in load(name).mro() if cls not in same]
            written = {key for cls in own for key, value in vars(cls).items() if inspect.isfunction(value)}
            assert {key for key in written if not key.startswith("__")} <= FORMULAS, name


def test_the_pace_of_each_process_is_noted(runs: dict[int, Path]) -> None:
    for size, out in runs.items():
        for row in read_jsonl(out / "grpo, few/timings.jsonl"):
            assert row["tokens_per_second"] > 0
            if size > 1:
                assert sum(row["by_process"]) == pytest.approx(row["tokens_per_second"], rel=1e-3, abs=1e-3)
                assert len(row["waiting"]) == size
                assert all(0 < share < 1 for share in row["waiting"])
            else:
                assert row.keys() == {"step", "seconds", "tokens_per_second"}
    idle = [row["by_process"][0] for row in read_jsonl(runs[3] / "sft, one row/timings.jsonl")]
    assert idle == [0, 0]  # the last of three has the one row


def sft(files: str, out: str, own: dict[str, Any]) -> str | None:
    """One run of the process, and the sentence of its UserError; `own` are the options that single ranks change."""
    os.environ["BURNISH_CACHE"] = str(Path(out).parent / "cache")
    try:
        run_training(*build(load("sft"), options(Path(files), Path(out), "sft") | own.get(os.environ["RANK"], {})))
    except UserError as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"1": {"seed": 1}}, "the processes of the run differ in seed (process 0 has 0, process 1 has 1): start"),
        ({"1": {"steps": 4}}, "the processes of the run differ in steps (process 0 has 2, process 1 has 4): start"),
        ({"1": {"out": "elsewhere"}}, "does not see the folder elsewhere of process 0: use one that both see"),
    ],
)
def test_processes_that_differ_are_refused(files: Path, tmp_path: Path, own: Any, said: str) -> None:
    ended = ranks.together(2, tmp_path / "ends", sft, str(files), str(tmp_path / "run"), own)
    assert said in ended[1]
    assert said in ended[0] or "process 1 of 2 has ended" in ended[0]
    assert not (tmp_path / "run").exists()


def other_data(files: str, out: str) -> str | None:
    """The second process sees other rows under the same name."""
    from burnish.data import sources

    if os.environ["RANK"] == "1":
        original = sources.load
        sources.load = lambda part: original(part).select(range(2))  # type: ignore[assignment]
    return sft(files, out, {})


def test_a_process_that_sees_other_data_is_refused(files: Path, tmp_path: Path) -> None:
    ended = ranks.together(2, tmp_path / "ends", other_data, str(files), str(tmp_path / "run"))
    assert ended[0] == ended[1]
    assert ended[0].startswith("the processes of the run differ in data_sha256 (process 0 has")


def other_version(files: str, out: str) -> str | None:
    """The second process has another version of a package."""
    from burnish.recipes.train import environment

    if os.environ["RANK"] == "1":
        original = environment.metadata.version
        environment.metadata.version = lambda name: "0.1" if name == "tokenizers" else original(name)
    return sft(files, out, {})


def test_a_process_of_another_version_is_refused(files: Path, tmp_path: Path) -> None:
    ended = ranks.together(2, tmp_path / "ends", other_version, str(files), str(tmp_path / "run"))
    assert ended[0] == ended[1]
    assert ended[0].startswith("the processes of the run differ in packages")


def test_more_processes_than_rows_are_warned_of() -> None:
    _, settings = build(load("sft"), {"data": "rows.jsonl", "batch_size": 2})
    assert idle(settings, World(0, 2)) == ""
    assert idle(settings, World(0, 3)).startswith("warning: 3 processes share batches of 2, so some have nothing to do")


@dataclass(frozen=True)
class Mine(Experience):
    """An experience of somebody's own."""


def refused(method: str, given: Given = NOTHING, **changes: Any) -> str:
    _, settings = build(load(method), {"data": "rows.jsonl"} | changes)
    assert of_process(settings, given, ALONE) is settings
    with pytest.raises(UserError) as caught:
        of_process(settings, given, World(0, 2))
    return str(caught.value)


def test_what_several_processes_cannot_do_is_refused() -> None:
    assert refused("ppo", experience=Mine()).startswith("an experience of your own needs one process for now")
    assert refused("sft", device="meta").endswith("on the CPU only for now: set device cpu")
    model = Given(model=tiny.make_model(), tokenizer=tiny.make_tokenizer())
    assert refused("sft", model).startswith("several processes cannot share a model object yet: save it")
