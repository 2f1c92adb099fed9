"""Commands in several real processes: the same output as with one."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import ranks
import tiny

from burnish import train
from burnish.algorithms.dpo import DPO
from burnish.algorithms.reward_model import RewardModel
from burnish.algorithms.rloo import RLOO
from burnish.config import Settings
from burnish.experience.interface import Experience
from burnish.recipes import together as module
from burnish.recipes.evaluate.run import evaluate_run
from burnish.recipes.rewardbench import rewardbench
from burnish.recipes.sample import sample_model
from burnish.recipes.together import together
from burnish.run import UserError
from burnish.run.world import World

SMALL: dict[str, Any] = {"steps": 1, "batch_size": 4, "learning_rate": 0.01, "quiet": True, "threads": 1}
BASE = Settings(quiet=True, threads=1, device="cpu")


def words(prompts: list[str], responses: list[str]) -> list[float]:
    return [float(len(one.split())) for one in responses]


def commands(folder: str, size: int) -> list[Any]:
    """What the commands of one process return; the main one writes below a folder of its own."""
    os.chdir(folder)
    own = Path(f"{size} of {os.environ['RANK']}")
    more: dict[str, Any] = {"max_new_tokens": 4, "base": BASE}
    drawn = sample_model("model", "prompts.jsonl", 3, "reward", own / "all.jsonl", keep="all", **more)
    best = sample_model("model", "prompts.jsonl", 2, words, own / "best.jsonl", stop="good", **more)
    found: list[Any] = [drawn.lines, drawn.summary, best.lines, best.summary]
    found.append(rewardbench("reward", "bench.jsonl", None, own / "bench", None, BASE))
    found.append(rewardbench("dpo", "bench.jsonl", None, None, None, BASE))
    for run in ("reward", "dpo"):
        found.append(evaluate_run(Path(run), "pairs.jsonl", None, BASE, 4 if run == "dpo" else None))
    found.append(evaluate_run(Path("rloo"), "prompts.jsonl", 5, BASE, objects={"reward": words}))
    found.append(evaluate_run(Path("checked"), "prompts.jsonl", 5, BASE, samples_per_prompt=4))
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("commands")
    tiny.save_model(folder / "model", "gpt2")
    tiny.write_rows(folder / "prompts.jsonl", tiny.prompt_rows(7))
    tiny.write_rows(folder / "pairs.jsonl", tiny.pair_rows(70))  # two batches of an evaluation, five of the benchmark
    rows = [row | {"subset": "hep-rust"} for row in tiny.pair_rows(70)]
    tiny.write_rows(folder / "bench.jsonl", rows)
    for algorithm, name in ((RewardModel(), "reward"), (DPO(), "dpo")):
        train(algorithm, model=folder / "model", data=folder / "pairs.jsonl", out=folder / name, **SMALL)
    more = SMALL | {"reward": words, "max_new_tokens": 4}
    train(RLOO(), model=folder / "model", data=folder / "prompts.jsonl", out=folder / "rloo", **more)
    more |= {"reward": "regex:good|film"}
    train(RLOO(), model=folder / "model", data=folder / "prompts.jsonl", out=folder / "checked", **more)
    return folder


def numbers(found: Any) -> tuple[str, list[float]]:
    """The JSON text without its numbers, and these."""
    text = json.dumps(found)
    number = r"-?\d+\.\d+(?:e-?\d+)?"
    return re.sub(number, "", text), [float(one) for one in re.findall(number, text)]


def test_the_output_does_not_depend_on_the_processes(folder: Path) -> None:
    """In float32, to rounding; whole batches are dealt out in the benchmark, so that it has the same bits."""
    (one,) = ranks.together(1, folder / "ends", commands, str(folder), 1)
    three = ranks.together(3, folder / "ends", commands, str(folder), 3)
    assert isinstance(one, list), one
    for rank, found in enumerate(three):
        assert isinstance(found, list), found
        for expected, own in zip(one, found, strict=True):
            text, values = numbers(own)
            assert text == numbers(expected)[0]
            assert values == pytest.approx(numbers(expected)[1], rel=1e-4, abs=1e-5)
        assert found[4:6] == one[4:6]
        assert (folder / f"3 of {rank}").exists() == (rank == 0)
    files = {path.relative_to(folder / "1 of 0") for path in (folder / "1 of 0").rglob("*") if path.is_file()}
    assert files == {path.relative_to(folder / "3 of 0") for path in (folder / "3 of 0").rglob("*") if path.is_file()}
    assert len(files) == 5
    for name in ("bench/rewardbench.json", "bench/rewardbench_rows.jsonl"):
        assert (folder / "3 of 0" / name).read_bytes() == (folder / "1 of 0" / name).read_bytes()
    assert json.loads((folder / "rloo/evaluation.json").read_text())["prefixes"] == 5
    assert 0 < one[-1]["answers"]["after"]["accuracy"]["mean"] < 1


@dataclass(frozen=True)
class Mine(Experience):
    """An experience of somebody's own."""


def test_who_prints_and_what_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    base = Settings(device="cpu")
    assert together(base, Mine())[1] is base
    monkeypatch.setattr(module, "joined", lambda: World(1, 2))
    assert together(base) == (World(1, 2), Settings(device="cpu", quiet=True))
    with pytest.raises(UserError, match=r"^an experience of your own needs one process for now"):
        together(base, Mine())
    with pytest.raises(UserError, match="on the CPU only for now"):
        together(Settings(device="meta"))
