"""Burnish's side of bench/language.py: one job in a process of its own.

Training is `burnish.train`. Its clock starts where the run folder gets its `environment.json`, after everything is
loaded and tokenised and before the reference's pass, and stops at the last update's metrics.
"""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from language_clock import Clock, Job, answer
from language_works import BETA, NEW_TOKENS, PPO_EPOCHS, WORKS, Work, e_share, training_options

import burnish
from burnish.batches import Feedback

METHODS = {
    "sft": "SFT",
    "reward": "RewardModel",
    "dpo": "DPO",
    "kto": "KTO",
    "ppo": "PPO",
    "grpo": "GRPO",
    "rloo": "RLOO",
}
OPTIONS: dict[str, dict[str, Any]] = {
    "dpo": {"beta": 0.1},
    "kto": {"beta": 0.1},
    "ppo": {"update_epochs": PPO_EPOCHS},
} | {method: {"beta": beta} for method, beta in BETA.items()}


def noting(base: type, batches: list[dict[str, Any]], group: int) -> type:
    """The method, which notes of each batch what the peer has to be given and what was read; `group` rows share a
    prompt."""

    @dataclass(frozen=True)
    class Noting(base):  # type: ignore[misc]
        def prepare(self, models: Any, part: Any, statistics: Any) -> Any:
            found = {"rows": part.rows.tolist(), "lengths": part.lengths.reshape(len(part), -1).tolist()}
            found["starts"] = part.mask.float().argmax(-1).reshape(len(part), -1).tolist()
            for name in ("starts", "lengths"):  # completions of one prompt follow each other
                rows = [found[name][at : at + group] for at in range(0, len(part), group)]
                found[name] = [[one for row in same for one in row] for same in rows]
            if isinstance(part, Feedback):
                found["others"] = [
                    row[chosen].tolist() for row, chosen in zip(part.tokens[:, 1], part.mask[:, 1], strict=True)
                ]
            batches.append(found)
            return super().prepare(models, part, statistics)

    return Noting


def start_at(name: str, clock: Clock) -> None:
    """Start the clock when a file of this name is put into its place."""

    def seen(event: str, given: tuple[Any, ...]) -> None:
        if event == "os.rename" and Path(os.fsdecode(given[1])).name == name:
            clock.start()

    sys.addaudithook(seen)


def train(job: Job) -> dict[str, Any]:
    work, clock = WORKS[job.work], Clock()
    batches: list[dict[str, Any]] = []
    losses: list[float] = []
    start_at("environment.json", clock)

    def note(step: int, metrics: dict[str, float]) -> None:
        clock.stop()
        losses.append(metrics["loss"])

    burnish.train(
        noting(getattr(burnish, METHODS[work.method]), batches, work.group)(**OPTIONS.get(work.method, {})),
        data=str(job.rows(work.data, work.counts[job.size])),
        model=job.model(scorer=work.method == "reward"),
        out=str(Path(job.folder) / "run"),
        on_step=note,
        precision=job.precision,
        threads=job.threads,
        save_every=0,
        quiet=True,
        **training_options(work),
        **(sampling(job, work) if work.online else {}),
    )
    figures = clock.figures() | {"losses": losses, "batches": batches}
    Path(job.noted).write_text(json.dumps(batches))
    return figures


def sampling(job: Job, work: Work) -> dict[str, Any]:
    """The options of methods that sample."""
    found: dict[str, Any] = {"max_new_tokens": NEW_TOKENS, "rollout": work.batch // work.group}
    if work.method == "ppo":
        return found | {"reward": job.model(scorer=True)}
    return found | {"reward": e_share, "completions_per_prompt": work.group}


def sample(job: Job) -> dict[str, Any]:
    """The sampler alone, all prompts of a batch at once, after one small batch that does not count."""
    from burnish.policies.language.policy import load_policy
    from burnish.policies.language.sampler import sample as sampled

    torch.set_num_threads(job.threads)
    work = WORKS[job.work]
    lines = job.rows(work.data, work.counts[job.size]).read_text().splitlines()
    policy = load_policy(job.model(), "cpu", job.precision)
    prompts = [policy.tokenizer(json.loads(line)["prompt"])["input_ids"] for line in lines]
    sampled(policy, prompts[:2], seed=1, max_new_tokens=4)
    clock, batches = Clock(), []
    clock.start()
    for at in range(0, len(prompts), work.batch):
        part = prompts[at : at + work.batch]
        found = sampled(policy, part, seed=0, max_new_tokens=NEW_TOKENS, streams=range(at, at + len(part)))
        starts = [[len(prompt)] for prompt in part]
        lengths = [[len(prompt) + len(ids)] for prompt, ids in zip(part, found.tokens, strict=True)]
        batches.append({"starts": starts, "lengths": lengths})
    clock.stop()
    return clock.figures() | {"losses": [], "batches": batches}


def run(job: Job) -> dict[str, Any]:
    return train(job) if WORKS[job.work].trains else sample(job)


if __name__ == "__main__":
    answer(run)
