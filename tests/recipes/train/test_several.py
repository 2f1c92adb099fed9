"""Runs in several processes: the same numbers as in one, and what is refused."""

import inspect
import os
import re
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import ranks
import tiny
import tiny_scorers
import torch
import transformers
from kinds import KINDS, SAME
from safetensors.torch import load_file

from burnish.algorithms.table import load
from burnish.config import build
from burnish.experience.interface import Experience
from burnish.policies.interface import Models
from burnish.policies.language.reference import StartingAdapter
from burnish.recipes.train.given import NOTHING, Given
from burnish.recipes.train.run import run_training
from burnish.recipes.train.several import check_shard, divide, of_process, useless
from burnish.run import UserError, read_jsonl, read_mapping
from burnish.run.world import ALONE, World, joined
from burnish.training.checkpoint import newest

FORMULAS = {"losses", "rewards", "ratios", "weights", "policy_losses"}
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
    "grpo, behind": {"staleness": 1, "rollout": 1, "completions_per_prompt": 5},  # two turns
    "sft, divided": {"gradient_checkpointing": True, "weight_decay": 0.1, "accumulate": 5, "max_grad_norm": 0.01},
    "sft, untied": {"model": "untied", "optimizer": "sgd", "momentum": 0.5},
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
    tiny.save_model(folder / "untied", "gpt2", tie_word_embeddings=False)
    tiny.save_model(folder / "chat", "gpt2")
    tiny.make_chat_tokenizer().save_pretrained(folder / "chat")
    tiny_scorers.make_classifier("gpt2").double().save_pretrained(folder / "scorer")
    tiny.make_tokenizer().save_pretrained(folder / "scorer")
    tiny.write_rows(folder / "held_one.jsonl", tiny.text_rows(1, 2))
    for name in ("model", "other", "untied", "chat"):  # weights that are divided when they are read stay in that dtype
        transformers.AutoModelForCausalLM.from_pretrained(folder / name).double().save_pretrained(folder / name)
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
    known = {"Asks": Asks, "scorer,words": f"{files / 'scorer'}:2,{__name__}:words:0.5"}
    known |= {name: str(files / name) for name in ("chat", "untied")}
    return {key: known.get(value, value) if isinstance(value, str) else value for key, value in own.items()}


def options(files: Path, out: Path, method: str, **more: Any) -> dict[str, Any]:
    """Batches of 5 and 2 rows of 7: neither 2 nor 3 processes divide 5, and of 3 one has no row of 2."""
    data = DATA[load(method).data]
    sampled: dict[str, Any] = {}
    if load(method).experience:  # frozen models in float64, as the trained one
        sampled = {"rollout": 5, "max_new_tokens": 4} | (
            {"teacher": str(files / "other")} if method == "distil" else {"reward": words}
        )
    common = {"model": str(files / "model"), "data": str(files / f"{data}.jsonl"), "out": str(out), "steps": 2}
    held = {"eval_data": str(files / f"held_{data}.jsonl"), "eval_every": 2}
    return (
        common
        | held
        | {"batch_size": 5, "learning_rate": 0.01, "threads": 1, "quiet": True, "max_length": 40, "dtype": "auto"}
        | sampled
        | more
    )


EVERY = [*KINDS, *MORE]
BY_TWO = ["sft, per text", "sft, adapter", "sft, divided", "ppo, adapter", "grpo, few"]
"""What three processes need not repeat: no share of these is empty for three alone, or others below are divided so."""
DIVIDED = [
    *("sft, per text", "sft, adapter", "sft, one row", "sft, divided", "sft, untied", "dpo, best", "reward", "kto"),
    *("kto, adapter", "ppo", "ppo, adapter", "grpo, few", "distil"),
]
OFFLOADED = ["sft, untied", "kto, adapter"]
"""What keeps its shards in main memory, where `--shard full` divides it: on a CPU as always, through FSDP2's policy."""
CASES = {
    "1": EVERY,
    "2": BY_TWO,
    "3": [case for case in EVERY if case not in (*BY_TWO, "sft, untied")],
    "2 full": DIVIDED,
    "3 full": ["sft, one row", "kto", "ppo", "grpo, few"],
    "2 optimizer": ["sft, per text", "sft, adapter", "kto", "ppo, adapter", "grpo, few", "grpo, behind"],
    "3 optimizer": ["sft, one row", "ppo, adapter"],
}
"""What runs in so many processes, with `--shard` none, full or optimizer."""


def train_all(files: str, out: str, cache: str, kind: str) -> None:
    os.environ["BURNISH_CACHE"] = cache
    shard = {"shard": kind.split()[1]} if " " in kind else {}
    for case in CASES[kind]:
        method, own = case.split(",")[0], changed(Path(files), MORE.get(case, {}))
        offload = {"offload": True} if kind.endswith("full") and case in OFFLOADED else {}
        given = options(Path(files), Path(out, case), method, **own, **shard, **offload)
        run_training(*build(load(method), given), NOTHING, double)


class Runs(dict[str, Path]):
    """The folders of the runs of each kind, which are made when they are asked for, each with a cache of its own."""

    def __init__(self, files: Path, folder: Path) -> None:
        self.files, self.folder = files, folder

    def __missing__(self, kind: str) -> Path:
        size, out = int(kind[0]), self.folder / kind
        ended = ranks.together(size, out / "ends", train_all, str(self.files), str(out), str(out / "cache"), kind)
        assert ended == [None] * size
        self[kind] = out
        return out


@pytest.fixture(scope="module")
def runs(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(files, tmp_path_factory.mktemp("runs"))


def texts(run: Path) -> str:
    """What was sampled, without the numbers."""
    path = run / "samples.jsonl"
    return re.sub(r"-?\d+\.\d+(e-\d+)?", "", path.read_text()) if path.exists() else ""


def last_checkpoint(run: Path) -> dict[str, torch.Tensor]:
    found = newest(run / "checkpoints", pytest.fail)
    assert found is not None
    return found.whole()


def files_of(run: Path) -> set[Path]:
    """The names of a run's files, where those of the shards of a checkpoint count as one."""
    found = {path.relative_to(run) for path in run.rglob("*") if path.is_file()}
    return {path.parent.with_name("tensors.safetensors") if path.parent.name == "shards" else path for path in found}


@pytest.mark.parametrize(("kind", "case"), [(kind, case) for kind in CASES if kind != "1" for case in CASES[kind]])
def test_the_numbers_do_not_depend_on_the_processes(runs: Runs, case: str, kind: str) -> None:
    """Losses, metrics, gradient norms, weights and optimizer state, in float64; the model is saved in float32."""
    one, several = runs["1"] / case, runs[kind] / case
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
    files = files_of(one)
    logs = {Path(f"logs/rank-{rank:03}.txt") for rank in range(int(kind[0]))}
    assert files | logs == files_of(several)
    divided = (" full" in kind) or (" optimizer" in kind)
    assert divided == bool(list(several.glob("checkpoints/step-*/shards/*.safetensors")))
    (weights,) = (path for path in files if path.parts[0] == "model" and path.suffix == ".safetensors")
    for name, tensor in load_file(one / weights).items():
        torch.testing.assert_close(load_file(several / weights)[name], tensor, rtol=1e-6, atol=1e-7, msg=name)


@pytest.mark.parametrize("case", ["sft, per text", "ppo, adapter"])
def test_a_divided_optimizer_gives_the_same_bits(runs: Runs, case: str) -> None:
    expected, found = (last_checkpoint(runs[kind] / case) for kind in ("2", "2 optimizer"))
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    metrics = [(runs[kind] / case / "metrics.jsonl").read_text() for kind in ("2", "2 optimizer")]
    assert metrics[0] == metrics[1]


def test_the_reference_has_the_same_bits(runs: Runs) -> None:
    one, other = (
        {path.name: load_file(path) for path in (runs[kind] / "cache/reference").iterdir()} for kind in ("1", "3")
    )
    assert len(one) > 2
    assert one.keys() == other.keys()
    for name, table in one.items():
        assert all(torch.equal(other[name][key], tensor) for key, tensor in table.items())


def test_the_best_weights_are_those_of_an_earlier_step(runs: Runs) -> None:
    for kind in ("1", "3", "2 full"):
        out = runs[kind]
        assert [path.name for path in (out / "dpo, best/checkpoints/best").glob("step-*")] == ["step-000001"]


def test_the_number_of_processes_is_noted(runs: Runs) -> None:
    folders = [runs[kind] / "grpo, few/environment.json" for kind in ("1", "2", "3 full")]
    assert [read_mapping(path).get("processes") for path in folders] == [None, 2, 3]


def cut_short(run: Path) -> None:
    """Leave a run of two steps as it was when it had been killed behind the checkpoint of the first."""
    for name in ("checkpoints/step-000002", "model"):
        shutil.rmtree(run / name)
    (run / "SHA256SUMS").unlink()


def begin(files: str, out: str, own: dict[str, Any], name: str, **more: Any) -> None:
    run_training(*build(load("dpo"), options(Path(files), Path(out, name), "dpo", **own, **more)), NOTHING, double)


def go_on(files: str, out: str, kinds: list[str], copies: list[str]) -> None:
    """A run of two steps for each way to divide, and the same run resumed; `copies` are resumed alone."""
    os.environ["BURNISH_CACHE"] = str(Path(out) / "cache")
    world = joined()
    for shard in kinds:
        own = {"save_every": 1, "shard": shard, "lora_rank": 2, "dtype": "auto"}
        start = partial(begin, files, out, own)
        if not copies:
            start(shard)
            copies_of = (f"{shard} again", f"{shard} elsewhere", f"{shard} alone")
            for name in copies_of if world.is_main else ():
                cut_short(Path(shutil.copytree(Path(out, shard), Path(out, name))))
            world.barrier()
        for name in copies or [f"{shard} again"]:
            if name.startswith(shard):
                start(name, resume=True)


def test_divided_runs_resume(files: Path, tmp_path: Path) -> None:
    """The same number of processes to the same bits, another within rounding; one process reads shards too."""
    kinds, folder = ["full", "optimizer"], str(tmp_path)
    for size, copies in ((2, []), (3, ["full elsewhere", "optimizer elsewhere"]), (1, ["full alone"])):
        ended = ranks.together(size, tmp_path / f"ends {size}", go_on, str(files), folder, kinds, copies)
        assert ended == [None] * size
    for shard in kinds:
        expected = last_checkpoint(tmp_path / shard)
        again, elsewhere = (last_checkpoint(tmp_path / f"{shard} {name}") for name in ("again", "elsewhere"))
        assert {name.split("/")[0] for name in expected} == {"policy", "optimizer"}
        assert all(torch.equal(again[name], tensor) for name, tensor in expected.items())
        assert again.keys() == elsewhere.keys() == expected.keys()
        for name, tensor in expected.items():
            torch.testing.assert_close(elsewhere[name], tensor, rtol=1e-9, atol=1e-9, msg=name)
        metrics = (tmp_path / shard / "metrics.jsonl").read_text()
        assert (tmp_path / f"{shard} again/metrics.jsonl").read_text() == metrics
        assert (tmp_path / f"{shard} elsewhere/model").exists()
    alone, expected = last_checkpoint(tmp_path / "full alone"), last_checkpoint(tmp_path / "full")
    for name, tensor in expected.items():
        torch.testing.assert_close(alone[name], tensor, rtol=1e-9, atol=1e-9, msg=name)


def test_a_model_that_cannot_be_divided_is_refused_before_it_is_read(tmp_path: Path) -> None:
    config = transformers.OpenAIGPTConfig(vocab_size=18, n_embd=8, n_layer=1, n_head=2, n_positions=16)
    config.save_pretrained(tmp_path / "old")  # without weights
    _, settings = build(load("sft"), {"data": "rows.jsonl", "model": str(tmp_path / "old"), "shard": "full"})
    with pytest.raises(UserError, match="has no blocks that its weights could be divided by: set shard to optimizer"):
        check_shard(settings, World(0, 2))
    check_shard(settings, ALONE)


@pytest.mark.parametrize("shard", ["full", "optimizer"])
def test_trained_weights_of_two_dtypes_are_not_divided(shard: str) -> None:
    policy = tiny.make_policy(double=False)
    policy.model.lm_head.weight.data = policy.model.lm_head.weight.data.bfloat16()  # type: ignore[union-attr]
    _, settings = build(load("sft"), {"data": "rows.jsonl", "shard": shard})
    with pytest.raises(UserError, match=f"^shard {shard} needs one dtype for all trained weights: set dtype float32$"):
        divide(Models(policy=policy), settings, World(0, 2))
    divide(Models(policy=policy), settings, ALONE)
    assert not policy.divided


def test_methods_of_one_kind_differ_in_their_formula_alone() -> None:
    for method, others in SAME.items():
        same = {cls for cls in load(method).mro() if cls is not load(method)}
        for name in others:
            own = [cls for cls in load(name).mro() if cls not in same]
            written = {key for cls in own for key, value in vars(cls).items() if inspect.isfunction(value)}
            assert {key for key in written if not key.startswith("__")} <= FORMULAS, name


def test_the_pace_of_each_process_is_noted(runs: Runs) -> None:
    for size, case in ((1, "grpo, few"), (2, "grpo, few"), (3, "grpo")):
        for row in read_jsonl(runs[str(size)] / case / "timings.jsonl"):
            assert row["tokens_per_second"] > 0
            if size > 1:
                assert sum(row["by_process"]) == pytest.approx(row["tokens_per_second"], rel=1e-3, abs=1e-3)
                assert len(row["waiting"]) == size
                assert all(0 < share < 1 for share in row["waiting"])
            else:
                assert row.keys() == {"step", "seconds", "tokens_per_second"}
    for row in read_jsonl(runs["3"] / "sft, one row/timings.jsonl"):
        assert [rate > 0 for rate in row["by_process"]] == [False, True, False]  # the one row is the middle one's


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


def no_data(files: str, out: str, place: str) -> str | None:
    """The second process is on a machine without the file."""
    os.chdir(place if os.environ["RANK"] == "1" else files)
    return sft(files, out, {rank: {"data": "texts.jsonl"} for rank in "01"})


def test_a_process_without_the_data_says_so(files: Path, tmp_path: Path) -> None:
    """The other one, which has them, ends too, and names it."""
    (tmp_path / "elsewhere").mkdir()
    out, elsewhere = tmp_path / "run", str(tmp_path / "elsewhere")
    ended = ranks.together(2, tmp_path / "ends", no_data, str(files), str(out), elsewhere)
    assert ended[1].startswith("texts.jsonl")
    assert ended[0] == "process 1 of 2 has ended: the others end too; continue with --resume"
    assert not (out / "metrics.jsonl").exists()


def other_version(files: str, out: str) -> str | None:
    """The second process has another version of a package."""
    from burnish.recipes.train import environment

    if os.environ["RANK"] == "1":
        original = environment.versions
        environment.versions = lambda *names: original(*names) | {"tokenizers": "0.1"}
    return sft(files, out, {})


def test_a_process_of_another_version_is_refused(files: Path, tmp_path: Path) -> None:
    ended = ranks.together(2, tmp_path / "ends", other_version, str(files), str(tmp_path / "run"))
    assert ended[0] == ended[1]
    assert ended[0].startswith("the processes of the run differ in packages")


def test_the_main_process_alone_prints_and_tracks() -> None:
    _, settings = build(load("sft"), {"data": "rows.jsonl", "track": "tensorboard", "device": "cpu"})
    assert of_process(settings, NOTHING, World(0, 2)) == settings
    other = of_process(settings, NOTHING, World(1, 2))
    assert (other.track, other.quiet) == (None, True)


def test_more_processes_than_rows_are_warned_of() -> None:
    _, settings = build(load("sft"), {"data": "rows.jsonl", "batch_size": 2})
    assert useless(settings, World(0, 2)) == []
    (line,) = useless(settings, World(0, 3))
    assert line == (
        "warning: 3 processes share batches of 2, so some have nothing to do: raise --batch-size, or start fewer"
    )
    _, settings = build(load("sft"), {"data": "rows.jsonl", "batch_size": 8})
    assert (
        useless(settings, World(0, 3))
        == useless(settings, World(0, 3), "abc")
        == useless(settings, World(0, 1), "a")
        == []
    )
    (line,) = useless(settings, World(0, 3), "ab")
    assert line == "warning: 3 processes share batches of 2, so some have nothing to do: give more rows, or start fewer"
    _, settings = build(load("rloo"), {"data": "rows.jsonl", "reward": "length", "completions_per_prompt": 2})
    assert useless(settings, World(0, 3), "ab") == []  # of four completions
    assert len(useless(settings, World(0, 3), "a")) == 1


def test_weights_that_are_in_main_memory_anyway_are_not_kept_there_in_silence() -> None:
    _, settings = build(load("sft"), {"data": "rows.jsonl", "shard": "full", "offload": True, "device": "cpu"})
    (line,) = useless(settings, World(0, 2))
    assert line == "warning: --offload changes nothing on a CPU, where all weights are in main memory: leave it out"
    assert of_process(settings, NOTHING, World(0, 2)) == settings
    with pytest.raises(UserError, match=r"^offload divides the weights among several processes, and this is one"):
        of_process(settings, NOTHING, ALONE)


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
