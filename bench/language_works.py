"""What bench/language.py compares: sizes, works, and the options that both sides get, in Burnish's words."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.run import UserError

HERE = Path(__file__).parent
PEER, PPO_PEER = (HERE.parent / name / "bin" / "python" for name in (".venv-bench", ".venv-bench-ppo"))

NEW_TOKENS = 48
PPO_EPOCHS = 4
GROUP = 8
BETA = {"grpo": 0.0, "rloo": 0.05}
"""The weight of the KL divergence, as in TRL's defaults: without one GRPO has no reference."""
TOLERANCE = 1e-4
"""The largest difference of a step's losses in float32."""

SIZES: dict[str, dict[str, Any]] = {
    "small": {"family": "gpt2", "n_layer": 6, "n_embd": 256, "n_head": 8, "vocab_size": 4096},
    "llama": {
        "family": "llama",
        "num_hidden_layers": 6,
        "hidden_size": 256,
        "intermediate_size": 688,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "vocab_size": 4096,
    },
    "gpt2": {"family": "gpt2", "n_layer": 12, "n_embd": 768, "n_head": 12, "vocab_size": 50257},
}

COMMON: dict[str, Any] = {
    "epochs": 1.0,
    "schedule": "linear",
    "warmup": 0.0,
    "adam_beta1": 0.9,
    "adam_beta2": 0.999,
    "adam_epsilon": 1e-8,
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
    "seed": 0,
}
"""The options of training of both sides, beside each work's own."""


@dataclass(frozen=True)
class Work:
    """One line of the table.

    `data` is the file of rows, `counts` their number by size; a `batch` is what one update learns from, or what is
    sampled together, `group` of it from each row.
    """

    title: str
    method: str
    data: str
    batch: int
    counts: dict[str, int]
    learning_rate: float = 0.0
    unit: str = "rows"
    group: int = 1

    @property
    def trains(self) -> bool:
        return self.method != "sample"

    @property
    def online(self) -> bool:
        return self.method in ("ppo", "sample", *BETA)


WORKS: dict[str, Work] = {
    "sft": Work("SFT", "sft", "texts", 8, {"small": 256, "llama": 256, "gpt2": 32}, 2e-5),
    "reward": Work(
        "reward model, short", "reward", "short", 8, {"small": 160, "llama": 160, "gpt2": 32}, 1e-5, "pairs"
    ),
    "dpo": Work("DPO, short", "dpo", "short", 8, {"small": 128, "llama": 128, "gpt2": 24}, 1e-5, "pairs"),
    "dpo_long": Work("DPO, long prompts", "dpo", "long", 8, {"small": 48, "llama": 48, "gpt2": 16}, 1e-5, "pairs"),
    "kto": Work("KTO, short", "kto", "labelled", 8, {"small": 160, "llama": 160, "gpt2": 32}, 1e-5),
    "ppo": Work("PPO", "ppo", "prompts", 32, {"small": 64, "llama": 64, "gpt2": 32}, 3e-6, "completions"),
    "grpo": Work("GRPO", "grpo", "prompts", 32, {"small": 12, "llama": 12, "gpt2": 4}, 1e-6, "completions", GROUP),
    "rloo": Work("RLOO", "rloo", "prompts", 32, {"small": 12, "llama": 12, "gpt2": 4}, 1e-6, "completions", GROUP),
    "sample_32": Work("sampler", "sample", "prompts", 32, {"small": 128, "llama": 128, "gpt2": 32}, unit="completions"),
    "sample_128": Work(
        "sampler", "sample", "prompts", 128, {"small": 256, "llama": 256, "gpt2": 128}, unit="completions"
    ),
}
ALWAYS = ("sft", "reward", "dpo", "dpo_long", "kto")  # what the size gpt2 has where no work is named
BY_DEFAULT: dict[str, tuple[str, ...]] = {"small": tuple(WORKS), "llama": ("dpo_long",), "gpt2": ALWAYS}


@dataclass(frozen=True)
class Plan:
    """What a session measures: cases of (work, size, precision), each in `rounds` turns of both sides."""

    cases: tuple[tuple[str, str, str], ...]
    sides: tuple[str, ...]
    rounds: int
    threads: int
    out: str


def python_of(work: str) -> Path:
    """The interpreter of both sides: TRL's last version with PPO lies in an environment of its own."""
    return PPO_PEER if WORKS[work].method == "ppo" else PEER


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="language.py", description="Language models: Burnish beside TRL.")
    parser.add_argument("--works", help=f"of {', '.join(WORKS)}; default: all, fewer at the sizes llama and gpt2")
    parser.add_argument("--sizes", default="small,llama", help=f"of {', '.join(SIZES)} (default: %(default)s)")
    parser.add_argument("--precision", default="float32", help="float32, bfloat16 or both (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=2, help="turns of either side (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="of each process (default: %(default)s)")
    parser.add_argument("--sides", default="burnish,peer", help="burnish alone is enough to compare with an older run")
    parser.add_argument("--out", default=str(HERE / "language.json"), help="JSON to write (default: %(default)s)")
    return parser.parse_args(words)


def planned(given: argparse.Namespace) -> Plan:
    """The plan of these arguments. Raises UserError for a name that does not exist and a number below 1."""
    sizes = names(given.sizes, SIZES, "--sizes")
    precisions = names(given.precision, ("float32", "bfloat16"), "--precision")
    sides = names(given.sides, ("burnish", "peer"), "--sides")
    if "burnish" not in sides:
        raise UserError("--sides peer: the peer gets its rows in the order of Burnish's run: give burnish,peer")
    for option in ("rounds", "threads"):
        if getattr(given, option) < 1:
            raise UserError(f"--{option} must be at least 1, not {getattr(given, option)}")
    asked = names(given.works, WORKS, "--works") if given.works else None
    cases = tuple((w, s, p) for s in sizes for p in precisions for w in asked or BY_DEFAULT[s])
    return Plan(cases, sides, given.rounds, given.threads, given.out)


def names(text: str, known: Any, option: str) -> tuple[str, ...]:
    """The names in a text with commas. Raises UserError for one that is not `known`."""
    found = tuple(word.strip() for word in text.split(",") if word.strip())
    for word in found:
        if word not in known:
            raise UserError(f"{option} {word}: there is no such name; use {', '.join(known)}")
    if not found:
        raise UserError(f"{option} names nothing: use {', '.join(known)}")
    return found


def e_share(completions: Sequence[str], **columns: Any) -> list[float]:
    """The reward of the methods on groups: the share of the letter e, which costs nothing."""
    return [text.count("e") / max(1, len(text)) for text in completions]


def training_options(work: Work) -> dict[str, Any]:
    """Options of training in Burnish's words."""
    return COMMON | {"batch_size": work.batch, "learning_rate": work.learning_rate}
