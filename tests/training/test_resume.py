"""A run killed at any moment and resumed ends with the bits of one that never was: real processes, SIGKILL, SIGINT."""

import json
import os
import random
import re
import resource
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jobs
import pytest
import tiny
import torch
from safetensors.torch import load_file
from tiny_scorers import make_scorer

from burnish.policies.interface import Models
from burnish.policies.language.adapters import Lora
from burnish.policies.language.policy import load_policy
from burnish.run import RunFolder
from burnish.training.resume import State, restore, save

SAVED = ("model/model.safetensors", "model/config.json", "metrics.jsonl")
STEPS = 10  # 23 rows of which 5 make a batch: 2 epochs of 5 steps
ROWS = {"sft": tiny.text_rows, "dpo": tiny.pair_rows, "reward": tiny.pair_rows, "ppo": tiny.prompt_rows}
# Rollouts of 8 of the 23 prompts in batches of 4, twice: they begin at steps 0, 4 and 8, and the run ends within one.
PPO = {
    "batch-size": 4,
    "rollout": 8,
    "max-new-tokens": 5,
    "update-epochs": 2,
    "temperature": 0.8,
    "missing-eos-penalty": 0.5,
    "kl-target": 0.1,
    "kl-horizon": 20,
    "keep-samples": 8,
}


class Bench:
    """A model, data, and runs with the options of one method."""

    def __init__(self, folder: Path, method: str, **more: Any) -> None:
        self.folder, self.method, self.runs, self.more = folder, method, 0, more
        self.saved = SAVED + (("critic/model.safetensors", "samples.jsonl") if method == "ppo" else ())
        if method == "ppo":
            make_scorer(seed=2, double=False).save(folder / "scorer")
        # Dropout, so that SFT's random stream has to come back as well.
        tiny.save_model(folder / "model", "gpt2", resid_pdrop=0.2, attn_pdrop=0.2)
        tiny.write_rows(folder / "train.jsonl", ROWS[method](23))
        tiny.write_rows(folder / "held.jsonl", ROWS[method](7, seed=1))
        self.log = folder / "log"
        if more:
            self.saved = tuple(name.replace("model.safetensors", "adapter_model.safetensors") for name in self.saved)
            self.saved = tuple(name.replace("model/config", "model/adapter_config") for name in self.saved)
            trained_before(folder / "model", folder / "adapter")
        self.whole = self.new()
        assert jobs.run(self.arguments(self.whole), self.log) == 0, self.log.read_text()

    def new(self) -> Path:
        self.runs += 1
        return self.folder / f"run-{self.runs}"

    def arguments(self, out: Path, *more: str) -> list[str]:
        options = {
            "model": self.folder / "model",
            "data": self.folder / "train.jsonl",
            "eval-data": self.folder / "held.jsonl",
            "out": out,
            "steps": STEPS,
            "batch-size": 5,
            "accumulate": 3,
            "learning-rate": 0.01,
            "warmup": 2,
            "eval-every": 4,
            "save-every": 3,
            "threads": 1,
            "max-length": 40,
        } | (PPO | {"reward": self.folder / "scorer"} if self.method == "ppo" else {})
        options |= self.more | ({"model": self.folder / "adapter"} if self.more else {})
        flags = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        return [self.method, *flags, "--quiet", *more]

    def resume(self, out: Path) -> None:
        log = self.folder / "resumed"
        assert jobs.run(self.arguments(out, "--resume"), log) == 0, log.read_text()

    def assert_same(self, out: Path) -> None:
        for name in self.saved:
            assert (out / name).read_bytes() == (self.whole / name).read_bytes(), name
        steps = [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]
        assert steps == list(range(1, len(steps) + 1))
        assert not list(out.rglob(".burnish-*"))


def trained_before(base: Path, folder: Path) -> None:
    """An adapter of rank 2 over `base` that is not 0."""
    policy = load_policy(base, lora=Lora(2))
    with torch.no_grad():
        for parameter in policy.parameters().values():
            parameter += 0.1
    policy.save(folder)


def made(method: str, factory: pytest.TempPathFactory, **more: Any) -> Iterator[Bench]:
    folder = factory.mktemp(method)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BURNISH_CACHE", str(folder / "cache"))
        yield Bench(folder, method, **more)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """SFT, for what is the same of all methods: the files that a kill leaves."""
    yield from made("sft", tmp_path_factory)


@pytest.fixture(scope="module")
def dpo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    yield from made("dpo", tmp_path_factory)


@pytest.fixture(scope="module")
def reward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    yield from made("reward", tmp_path_factory)


@pytest.fixture(scope="module")
def ppo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    yield from made("ppo", tmp_path_factory)


class Odd(torch.optim.SGD):
    """Its state has a number and a nested part beside tensors, as that of bitsandbytes' optimizers does."""

    def step(self, closure: Any = None) -> None:
        for parameter in self.param_groups[0]["params"]:
            slot = self.state.setdefault(
                parameter, {"step": 0, "quantised": {"levels": torch.zeros(3, dtype=torch.uint8)}}
            )
            slot["step"] += 1
            slot["quantised"]["levels"] += 2


def test_every_part_of_an_optimizers_state_comes_back(tmp_path: Path) -> None:
    models = Models(policy=tiny.make_policy())
    parameters = list(models.policy.parameters().values())
    optimizer, again = Odd(parameters, lr=0.1), Odd(parameters, lr=0.1)
    optimizer.step()
    optimizer.step()
    with RunFolder.open(tmp_path / "run") as run:
        run.claim({"algorithm": "sft"})
        save(run, models, optimizer, State(step=2, unlogged={"loss": [0.5, 2]}))
        state = restore(run, models, again, pytest.fail)
    assert (state.step, state.unlogged) == (2, {"loss": [0.5, 2]})
    for parameter in parameters:
        slot = again.state[parameter]
        assert slot["step"] == 2
        assert type(slot["step"]) is int
        assert slot["quantised"]["levels"].tolist() == [4, 4, 4]


def test_the_same_run_twice_has_the_same_bits(bench: Bench) -> None:
    out = bench.new()
    assert jobs.run(bench.arguments(out), bench.log) == 0
    bench.assert_same(out)
    assert len((out / "metrics.jsonl").read_text().splitlines()) == STEPS


@pytest.mark.parametrize(
    ("place", "times", "checkpoints"),
    [
        ("mid-accumulation", 5, 0),  # in step 2, before the first checkpoint
        ("mid-accumulation", 15, 1),  # in step 5, after the checkpoint of step 3
        ("after the update", 6, 1),  # step 6 is in the weights and not yet in the metrics
        ("mid-line", 9, 1),  # metrics and timings alternate: the line of step 5
        ("mid-evaluation", 2, 2),  # in step 8
        ("before a checkpoint", 1, 0),
        ("mid-save", 1, 0),
        ("mid-save", 2, 1),
        ("mid-save", 3, 2),
        ("after a checkpoint", 1, 3),
        ("mid-model", 1, 2),
        ("before the model", 1, 2),
    ],
)
def test_a_run_killed_anywhere_resumes_to_the_same_bits(bench: Bench, place: str, times: int, checkpoints: int) -> None:
    out = bench.new()
    assert jobs.run(bench.arguments(out), bench.log, (place, times)) == -signal.SIGKILL, bench.log.read_text()
    assert len(list(out.glob("checkpoints/step-*"))) == checkpoints
    assert not (out / "model").exists()
    bench.resume(out)
    bench.assert_same(out)


def test_a_run_killed_again_and_again_resumes_to_the_same_bits(bench: Bench) -> None:
    out = bench.new()
    for crash in (("mid-save", 1), ("mid-accumulation", 15), ("mid-evaluation", 2), ("before the model", 1)):
        assert jobs.run(bench.arguments(out, "--resume"), bench.log, crash) == -signal.SIGKILL
    bench.resume(out)
    bench.assert_same(out)


def test_a_run_killed_at_random_moments_resumes_to_the_same_bits(bench: Bench) -> None:
    moments = random.Random(0)
    for _ in range(3):
        out = bench.new()
        process = jobs.start(bench.arguments(out), bench.log)
        wait_for(out / "config.yaml", process)
        time.sleep(moments.uniform(0, 0.3))
        process.kill()  # which does not mind if the run has ended
        jobs.finish(process)
        bench.resume(out)
        bench.assert_same(out)


def wait_for(path: Path, process: jobs.ForkServerProcess, lines: int = 0) -> None:
    """Until the file is there and has so many lines, or the process has ended."""
    while process.is_alive() and not (path.exists() and path.read_bytes().count(b"\n") >= lines):
        time.sleep(0.002)


def test_control_c_saves_and_exits_130(bench: Bench) -> None:
    out, log = bench.new(), bench.folder / "interrupted"
    process = jobs.start([*bench.arguments(out), "--steps", "4000"], log)
    wait_for(out / "metrics.jsonl", process, lines=4)
    assert process.pid
    os.kill(process.pid, signal.SIGINT)
    assert jobs.finish(process) == 130
    written = (out / "metrics.jsonl").read_text().splitlines()
    assert (out / "checkpoints" / f"step-{len(written):06d}").is_dir()
    assert f"saved up to step {len(written)}" in log.read_text()
    assert "Traceback" not in log.read_text()


def test_an_interrupted_run_resumes_to_the_same_bits(bench: Bench) -> None:
    """The signal comes in the middle of step 5; the step is finished, saved, and the run goes on from it."""
    out = bench.new()
    assert jobs.run(bench.arguments(out), bench.log, ("interrupt", 14)) == 130
    assert sorted(path.name for path in out.glob("checkpoints/step-*")) == ["step-000003", "step-000005"]
    bench.resume(out)
    bench.assert_same(out)


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove"])
def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_used(bench: Bench, damage: str) -> None:
    out, log = bench.new(), bench.folder / f"damaged-{damage}"
    shutil.copytree(bench.whole, out)
    shutil.rmtree(out / "model")
    newest = out / "checkpoints" / "step-000010" / "tensors.safetensors"
    content = bytearray(newest.read_bytes())
    if damage == "remove":
        newest.unlink()
    else:
        content[-9] ^= 1
        newest.write_bytes(content if damage == "flip" else content[:-4])
    arguments = [text for text in bench.arguments(out, "--resume") if text != "--quiet"]
    assert jobs.run(arguments, log) == 0
    assert "step-000010" in log.read_text()
    assert "going on from step-000009" in log.read_text()
    bench.assert_same(out)


def test_a_finished_run_resumes_to_nothing(bench: Bench) -> None:
    before = {path: path.stat().st_mtime_ns for path in bench.whole.rglob("*") if path.is_file()}
    bench.resume(bench.whole)
    assert {path: path.stat().st_mtime_ns for path in bench.whole.rglob("*") if path.is_file()} == before


def test_resume_with_nothing_to_resume_starts(bench: Bench) -> None:
    out = bench.new()
    bench.resume(out)
    bench.assert_same(out)


def test_early_stopping_resumes_to_the_same_best_weights(bench: Bench) -> None:
    """Too high a rate: the loss rises, the run stops, and keeps what was best; also when killed while it kept that."""
    more = ["--steps", "40", "--eval-every", "2", "--patience", "2", "--learning-rate", "0.3", "--schedule", "constant"]
    whole, out = bench.new(), bench.new()
    assert jobs.run([*bench.arguments(whole), *more], bench.log) == 0, bench.log.read_text()
    steps = len((whole / "metrics.jsonl").read_text().splitlines())
    assert steps < 40
    assert jobs.run([*bench.arguments(out), *more], bench.log, ("best", 1)) == -signal.SIGKILL
    for crash in (("mid-evaluation", 2), ("before the model", 1)):
        assert jobs.run([*bench.arguments(out, "--resume"), *more], bench.log, crash) == -signal.SIGKILL
    assert jobs.run([*bench.arguments(out, "--resume"), *more], bench.log) == 0
    for name in SAVED:
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name


# DPO, reward models and PPO ----------------------------------------------------------------------------------------


def killed_and_resumed(bench: Bench, place: str, times: int, checkpoints: list[int]) -> None:
    out = bench.new()
    assert jobs.run(bench.arguments(out), bench.log, (place, times)) == -signal.SIGKILL, bench.log.read_text()
    assert sorted(int(path.name[5:]) for path in out.glob("checkpoints/step-*")) == checkpoints
    assert not (out / "model").exists()
    bench.resume(out)
    bench.assert_same(out)


@pytest.mark.parametrize(
    ("place", "times", "checkpoints"),
    [
        ("mid-accumulation", 5, []),  # in step 2
        ("mid-evaluation", 2, [3, 6]),  # in step 8
        ("mid-save", 2, [3]),
        ("before the model", 1, [9, 10]),
    ],
)
def test_dpo_killed_anywhere_resumes_to_the_same_bits(
    dpo: Bench, place: str, times: int, checkpoints: list[int]
) -> None:
    """Its reference is the model that training began with."""
    killed_and_resumed(dpo, place, times, checkpoints)


@pytest.mark.parametrize(
    ("place", "times", "checkpoints"),
    [
        ("mid-accumulation", 15, [3]),  # in step 5
        ("mid-line", 9, [3]),
        ("mid-save", 2, [3]),
        ("mid-scorer", 1, [9, 10]),
        ("before the model", 1, [9, 10]),
    ],
)
def test_a_reward_model_killed_anywhere_resumes_to_the_same_bits(
    reward: Bench, place: str, times: int, checkpoints: list[int]
) -> None:
    """Its offset among them, which is in the model's config."""
    assert json.loads((reward.whole / "model" / "config.json").read_text())["score_offset"] != 0.0
    killed_and_resumed(reward, place, times, checkpoints)


@pytest.mark.parametrize(
    ("place", "times", "checkpoints"),
    [
        ("mid-rollout", 3, []),  # five tokens a rollout
        ("mid-rollout", 13, [4]),  # five more went to the evaluation at step 4
        ("mid-accumulation", 17, [4]),  # three pieces an update: in step 6, the second update of the second rollout
        ("after the update", 7, [4]),  # the second pass has begun
        ("mid-line", 20, [4]),  # eight lines of metrics and timings and eight samples: the line of step 6
        ("mid-line", 10, []),  # a sample
        ("mid-evaluation", 2, [4]),  # after step 8, before anything of that rollout is saved
        ("mid-save", 2, [4]),
        ("after a checkpoint", 1, [4, 8, 10]),
        ("mid-scorer", 1, [8, 10]),  # the critic
        ("mid-model", 1, [8, 10]),
        ("before the model", 2, [8, 10]),  # the critic is there
    ],
)
def test_ppo_killed_anywhere_resumes_to_the_same_bits(
    ppo: Bench, place: str, times: int, checkpoints: list[int]
) -> None:
    killed_and_resumed(ppo, place, times, checkpoints)


def test_ppo_killed_again_and_again_resumes_to_the_same_bits(ppo: Bench) -> None:
    """β is another in each rollout, so that the controller has to come back as well."""
    lines = [json.loads(line) for line in (ppo.whole / "metrics.jsonl").read_text().splitlines()]
    assert len({line["objective/kl_coef"] for line in lines if "objective/kl_coef" in line}) == 3
    out = ppo.new()
    for crash in (("mid-rollout", 4), ("mid-save", 1), ("mid-rollout", 13), ("mid-rollout", 3), ("mid-scorer", 1)):
        assert jobs.run(ppo.arguments(out, "--resume"), ppo.log, crash) == -signal.SIGKILL
    ppo.resume(out)
    ppo.assert_same(out)


def test_an_interrupted_ppo_finishes_its_rollout_and_resumes_to_the_same_bits(ppo: Bench) -> None:
    out = ppo.new()
    assert jobs.run(ppo.arguments(out), ppo.log, ("interrupt", 14)) == 130  # in step 5
    assert sorted(path.name for path in out.glob("checkpoints/step-*")) == ["step-000004", "step-000008"]
    ppo.resume(out)
    ppo.assert_same(out)


SOUND = "[len(response.split()) + n / 10 for response, n in zip(responses, number)]"
AMISS = {
    "raises": f"[1 // (n != {{row}}) for n in number] and {SOUND}",
    "nan": f"[score if n != {{row}} else float('nan') for score, n in zip({SOUND}, number)]",
    "count": f"{SOUND}[{{row}} in number :]",
}


@pytest.fixture(scope="module")
def judged(ppo: Bench) -> tuple[Path, list[int]]:
    """A whole run with a reward that is the user's own, and the rows of its second rollout."""
    write_reward(ppo, SOUND)
    out = ppo.new()
    assert jobs.run(ppo.arguments(out, "--reward", "judge:score"), ppo.log) == 0, ppo.log.read_text()
    samples = [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]
    return out, [sample["row"] for sample in samples if sample["step"] == 4]


def write_reward(bench: Bench, expression: str) -> None:
    """The lengths of the alternatives differ, or Python would take its own copy of a file as old as this second."""
    text = f"def score(prompts, responses, number):\n    return {expression}\n"
    (bench.folder / "judge.py").write_text(text)


@pytest.mark.parametrize("fault", AMISS)
def test_a_reward_that_fails_is_mended_and_the_run_resumes_to_the_same_bits(
    ppo: Bench, judged: tuple[Path, list[int]], fault: str
) -> None:
    whole, rows = judged
    out, log = ppo.new(), ppo.folder / f"reward-{fault}"
    write_reward(ppo, AMISS[fault].format(row=rows[5]))
    arguments = ppo.arguments(out, "--reward", "judge:score")
    assert jobs.run(arguments, log) == 2
    told = log.read_text()
    assert told.startswith("burnish: step 5: the reward judge:score ")
    named = f"rows {', '.join(map(str, rows))}" if fault == "count" else f"row {rows[5]}"
    assert f" for {named}" in told or f" completions of {named}: " in told
    assert told.count("\n") == 1
    lines = (out / "failed_rollout.jsonl").read_text().splitlines()
    assert [json.loads(line)["row"] for line in lines] == rows
    assert (out / "checkpoints" / "step-000004").is_dir()
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 4
    write_reward(ppo, SOUND)
    assert jobs.run([*arguments, "--resume"], log) == 0, log.read_text()
    for name in ppo.saved:
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name


# Adapters ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["sft", "ppo"])
def adapters(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Each goes on with an adapter: SFT with dropout in it, PPO with it as its reference."""
    more = {"lora-dropout": 0.3} if request.param == "sft" else {}
    yield from made(request.param, tmp_path_factory, **{"lora-rank": 2} | more)


@pytest.mark.parametrize(("place", "times"), [("mid-accumulation", 15), ("mid-save", 2), ("before the model", 1)])
def test_a_run_with_adapters_killed_anywhere_resumes_to_the_same_bits(adapters: Bench, place: str, times: int) -> None:
    """The reference is the adapter that training began with, not the one of the checkpoint."""
    out = adapters.new()
    assert jobs.run(adapters.arguments(out), adapters.log, (place, times)) == -signal.SIGKILL, adapters.log.read_text()
    assert not (out / "model").exists()
    kept = [load_file(file) for file in out.glob("checkpoints/step-*/tensors.safetensors")]
    assert kept
    trained = [name for tensors in kept for name in tensors if not name.startswith("optimizer/")]
    assert all(".lora_" in name or ".modules_to_save." in name for name in trained)
    adapters.resume(out)
    adapters.assert_same(out)


def limited(arguments: list[str], log: str, more: int) -> None:
    """Run a command with at most `more` bytes of memory above those that the process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    jobs.child(arguments, log, None, {})


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the memory of a process is read from /proc")
def test_memory_that_runs_out_is_a_sentence_and_the_run_can_be_resumed(tmp_path: Path) -> None:
    """Activations of 128 × 48 × 16,384 floats in one layer are 384 MiB, several times; there are 1,200."""
    tiny.save_model(tmp_path / "model", "llama", intermediate_size=2**14)
    tiny.write_rows(tmp_path / "rows.jsonl", [{"text": " ".join(["good film"] * 30)}] * 128)
    given = {"model": tmp_path / "model", "data": tmp_path / "rows.jsonl", "out": tmp_path / "out", "batch-size": 128}
    given |= {"steps": 1, "threads": 1, "max-length": 48}
    arguments = ["sft", *(text for name, value in given.items() for text in (f"--{name}", str(value))), "--quiet"]
    log = tmp_path / "log"
    process = jobs.process(limited, [*arguments, "--accumulate", "1"], str(log), 1200 * 2**20)
    process.start()
    assert jobs.finish(process) == 2, log.read_text()
    said = log.read_text()
    assert re.fullmatch(r"burnish: not enough memory \([\d.]+ [MG]iB asked for\): give --gradient-.*\n", said)
    assert all(option in said for option in ("--resume", "--accumulate", "--max-length"))
    assert jobs.run([*arguments, "--accumulate", "32", "--resume"], tmp_path / "resumed") == 0
