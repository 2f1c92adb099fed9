"""A study of over-optimisation that is computed in seconds: one narrow layer, two proxies and two updates."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from burnish.policies.language.loading import Loading, load_tokenizer
from burnish.recipes.assets import resolve_model
from burnish.recipes.study.overoptimise.plan import QUICK, Plan

from ..worlds import narrow

TINY: Plan = replace(
    QUICK,
    labels=(2, 4),
    sizes=(1, 2, 3),
    seeds=1,
    sft_steps=1,
    prefixes=6,
    completions=4,
    steps=2,
    control_steps=2,
    texts=4,
    rollout=4,
    eval_every=1,
    held_out=12,
    held_pairs=4,
    shown=2,
    max_new_tokens=8,
    max_length=32,
)


class Longer:
    """A scorer that prefers the longer response."""

    device = torch.device("cpu")
    tokenizer = load_tokenizer(str(resolve_model("builtin")), Loading())

    def dropout(self, on: bool) -> None: ...

    def scores(self, batch: Any) -> torch.Tensor:
        return batch.mask.sum(-1).float()


def begun(folder: Path) -> None:
    """A start with eight pairs, held-out ones and prompts."""
    start = folder / "start"
    start.mkdir()
    narrow(start / "model")
    prompts = [{"prompt": f"Film {i}"} for i in range(8)]
    pairs = [one | {"first": " a bad one.", "second": " good.", "gap": -1.0} for one in prompts]
    held = [one | {"chosen": " good.", "rejected": " a bad one.", "right": True} for one in prompts]
    for name, rows in (("pairs", pairs), ("held", held), ("prompts", prompts)):
        (start / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
