"""Invented runs and summaries of realistic size: shapes to draw, never results."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

PREFIXES = [
    "the film is",
    "a smart and",
    "i did not expect to",
    "with its",
    "this is one of those movies that",
    "by the end",
    "director and co-writer",
    "the actors are all",
    "there 's nothing",
    "what a",
]
TAILS = {
    "base": " a lot of the time and the people in the house of the president of the states , it is not a good one .",
    "SFT": " an uneven comedy that never quite decides whether it wants to laugh at its characters or with them .",
    "DPO": " a warm , funny and beautifully acted film that earns every one of its tears , a pleasure to watch .",
}


def interval(mean: float, half: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - half, "high": mean + half}


def records(steps: int, seed: int, dpo: bool = False, every: int = 20) -> list[dict]:
    rng = np.random.default_rng(seed)
    lines = []
    for step in range(1, steps + 1):
        done = 1 - math.exp(-3 * step / steps)
        line = {"step": step, "loss": (0.693 - 0.2 * done if dpo else 4.4 - 0.5 * done) + 0.06 * rng.normal()}
        if dpo:
            line |= {
                "rewards/accuracies": float(np.clip(0.5 + 0.25 * done + 0.1 * rng.normal(), 0, 1)),
                "rewards/margins": 0.8 * done + 0.1 * rng.normal(),
                "rewards/chosen": 0.3 * done + 0.1 * rng.normal(),
                "rewards/rejected": -0.5 * done + 0.1 * rng.normal(),
            }
        line |= {
            "grad_norm": 1 + 0.2 * abs(rng.normal()),
            "learning_rate": 1e-4 * min(1, step / 10) * (1 - step / (steps + 1)),
        }
        if step % every == 0:
            line["eval_loss"] = line["loss"] + 0.05
            if dpo:
                line["eval_rewards/accuracies"] = 0.5 + 0.2 * done
        lines.append(line)
    return lines


def make_summary(difference: dict[str, float] | None = None) -> dict:
    rng = np.random.default_rng(0)
    centres = {"base": 0.02, "SFT": 0.21, "DPO": 0.97}
    models = []
    for name, centre in centres.items():
        values = (centre + 0.75 * rng.normal(size=512)).round(3).tolist()
        against = {"base": interval(-0.19, 0.08), "SFT": None, "DPO": difference or interval(0.76, 0.09)}[name]
        models.append(
            {
                "name": name,
                "gold": interval(centre, 0.065),
                "gold_vs_sft": against,
                "win_rate": None if name == "SFT" else interval({"base": 0.41, "DPO": 0.78}[name], 0.036),
                "kl": interval({"base": 9.37, "SFT": 0.0, "DPO": 12.61}[name], 0.0 if name == "SFT" else 0.52),
                "length": {"mean": {"base": 24.3, "SFT": 19.8, "DPO": 26.7}[name]},
                "distinct_2": {"base": 0.613, "SFT": 0.684, "DPO": 0.547}[name],
                "eos_rate": {"base": 0.87, "SFT": 0.96, "DPO": 0.91}[name],
                "gold_values": values,
            }
        )
    return {
        "title": "A small language model learns what people like in a film review",
        "command": "burnish demo --out runs/demo",
        "seconds": 312.4,
        "peak_memory_mb": 1843.2,
        "runs": 1,
        "models": models,
        "accuracy": {**interval(0.741, 0.032), "n": 702},
        "ceiling": {**interval(0.884, 0.012), "n": 702},
        "gold_quality": {"correlation": 0.643, "low": 0.61, "high": 0.674},
        "training": {"sft": records(300, 1), "dpo": records(240, 2, dpo=True)},
        "samples": [
            {
                "prefix": prefix,
                **{name: prefix + tail for name, tail in TAILS.items()},
                "gold": {"base": -0.31 + i / 10, "SFT": 0.12, "DPO": 1.43},
            }
            for i, prefix in enumerate(PREFIXES)
        ],
        "stages": [
            {"name": "SFT", "seconds": 93.2},
            {"name": "DPO", "seconds": 121.0},
            {"name": "evaluation", "seconds": 81.7},
        ],
        "data": {"demonstrations": 8400, "comparisons": 5631, "held-out prefixes": 512},
        "versions": {"burnish": "0.1.0", "torch": "2.13.0", "python": "3.11.2"},
        "notes": ["Continuations are sampled at temperature 1, one a prefix.", "The first note is not the last."],
    }


@pytest.fixture
def summary() -> dict:
    return make_summary()


def make_run(folder: Path, seed: int = 1, beta: float = 0.1) -> Path:
    folder.mkdir(parents=True)
    lines = [json.dumps(line) for line in records(200, seed, dpo=True)]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "config.yaml").write_text(
        f"algorithm: dpo\ndpo:\n  beta: {beta}\n  label_smoothing: 0.0\nseed: {seed}\nmodel: builtin\n"
    )
    (folder / "environment.json").write_text(
        json.dumps({"python": "3.11.2", "versions": {"torch": "2.13.0"}, "seed": seed})
    )
    (folder / "samples.jsonl").write_text(
        json.dumps({"step": 100, "prompt": "the film", "response": " is <b>good</b>", "score": 0.5}) + "\n"
    )
    (folder / "evaluation.json").write_text(
        json.dumps({"accuracy": {**interval(0.74, 0.03), "n": 702}, "loss": 0.5571})
    )
    return folder


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    return make_run(tmp_path / "runs" / "dpo")
