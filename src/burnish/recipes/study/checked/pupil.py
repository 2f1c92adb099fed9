"""The model of the study: a small transformer that is taught a task by a few demonstrations, to where it is sometimes
right."""

from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from burnish.algorithms.table import load
from burnish.config import build
from burnish.policies.language.policy import load_policy
from burnish.recipes.study.cell import SHARED
from burnish.recipes.study.checked.graded import Exam, graded, with_options
from burnish.recipes.train.run import run_training
from burnish.run import UserError, remove_folder_atomically, save_folder_atomically

CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789 +-*/=><()[]{}.,:?"
SPECIAL = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}


@dataclass(frozen=True)
class Shape:
    """The transformer's size, 0.8 million parameters by default."""

    width: int = 128
    layers: int = 4
    heads: int = 4
    context: int = 128


@dataclass(frozen=True)
class Lessons:
    """SFT in pieces of `steps`, until the share of right answers, of `samples` to each held-out prompt, is between
    `least` and `most`."""

    steps: int = 25
    most_steps: int = 1500
    batch_size: int = 32
    learning_rate: float = 1e-3
    samples: int = 4
    least: float = 0.2
    most: float = 0.5


def tokenizer() -> PreTrainedTokenizerFast:
    """One token per character of `CHARACTERS`."""
    words = [*SPECIAL.values(), *CHARACTERS]
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, SPECIAL["unk_token"]))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    backend.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=backend, **SPECIAL)


def born(folder: Path, shape: Shape, seed: int) -> Path:
    """A transformer with random weights, and its tokenizer."""
    words = tokenizer()
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=shape.width,
        intermediate_size=shape.width * 8 // 3,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        max_position_embeddings=shape.context,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    with save_folder_atomically(folder) as made:
        LlamaForCausalLM(config).save_pretrained(made)
        words.save_pretrained(made)
    return folder


def taught(
    task: str, demonstrations: int, folder: Path, shape: Shape, lessons: Lessons, exam: Exam, seed: int
) -> tuple[Path, int]:
    """The run of a model that has seen demonstrations of `task` until it is sometimes right, and the number of its
    updates.

    Each piece of SFT goes on with the weights and the optimizer of the last one. A piece after which too many answers
    are right is done again with half the steps. Raises UserError where the model does not come between the two bounds.
    """
    model, before, done, steps = born(folder / "born", shape, seed), None, 0, lessons.steps
    while done < lessons.most_steps:
        run = folder / f"sft-{done + steps}"
        options = SHARED | {
            "out": str(run),
            "model": str(model),
            "from_": before and str(before),
            "data": with_options(task, rows=demonstrations, seed=seed),
            "steps": steps,
            "batch_size": lessons.batch_size,
            "learning_rate": lessons.learning_rate,
            "max_length": shape.context,
            "seed": seed * 10_000 + done,  # other rows first
            "keep_checkpoints": 1,
        }
        run_training(*build(load("sft"), options))
        share = graded(load_policy(run / "model", "cpu"), exam, seed).accuracy
        if share > lessons.most:
            if steps == 1:
                break
            remove_folder_atomically(run)
            steps //= 2
            continue
        if share >= lessons.least:
            return run, done + steps
        done, before, model = done + steps, run, run
    raise UserError(
        f"{task} (seed {seed}) is not learned to a share of right answers between {lessons.least:.0%} and "
        f"{lessons.most:.0%} in {lessons.most_steps} updates of SFT: take another task or other lessons"
    )
