"""The embedded model: its tokenizer, training and measurements.

A small Llama is trained on text that SmolLM2 wrote, WordNet's examples and the training parts of the four corpora,
each text as BOS + text + EOS. The weights with the lowest validation loss are kept, on people's texts. It is the
ordinary SFT loop on a model with random weights, plus dropout, which transformers' Llama does not have and so few
words need.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any, Literal

import torch
from datasets import Dataset
from tokenizers import ByteLevelBPETokenizer, Tokenizer, processors
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from burnish.algorithms.distil import Distil
from burnish.algorithms.sft import SFT
from burnish.config import Settings
from burnish.data import builtin
from burnish.data.walk import batches_per_epoch
from burnish.evaluation.english import at_least, text_counts
from burnish.experience.language.taught import TaughtCompletions
from burnish.policies.interface import Models, Part
from burnish.policies.language.loading import Loading, load_tokenizer
from burnish.policies.language.policy import load_policy
from burnish.recipes.together import together
from burnish.recipes.train.given import Given
from burnish.recipes.train.models import say
from burnish.recipes.train.prepare import prepare_torch
from burnish.recipes.train.run import run_training
from burnish.recipes.vocabulary import transfer_vocabulary
from burnish.recipes.writing.dictionary import FEWEST_TEXTS, dictionary, with_words
from burnish.recipes.writing.measure import MOST_TOKENS, measure
from burnish.recipes.writing.spelling import Lexicon, Speller
from burnish.recipes.writing.text import FACTS, epoch, freeze, parts
from burnish.run import UserError, read_jsonl, save_folder_atomically, writable_folder, write_atomically

SPECIAL = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"}

UPDATES = 4
"""Updates per rollout when it learns which words exist: more rows at once are sampled faster."""

MOST_BEGUN = 8
"""Words of a text that the model completes to learn which words exist; it begins one in nine itself."""


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters; docs/model.md says how they were chosen."""

    vocabulary: int = 8192
    width: int = 256
    hidden: int = 704
    layers: int = 6
    heads: int = 4
    context: int = 256
    dropout: float = 0.1
    spelling: int | None = None
    """Updates that teach the `first` pretraining which words exist, in place of training on the text."""
    epochs: float = 6.0
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.1
    warmup: float = 0.02
    evaluations: int = 2
    """Per epoch."""
    save_every: int = 100
    precision: Literal["auto", "float32", "bfloat16"] = "auto"


def pretrain(out: Path, recipe: Recipe, base: Settings, text: Path | None = None, first: Path | None = None) -> Path:
    """Train the embedded model into `out/film` (bfloat16, with its tokenizer) and measure it into `out/film.json`.

    `text` is a folder of `burnish write`, whose shards are read beside the written text that ships. A resumed training
    goes on with the text that it began with, see `freeze`. Several processes share the training; the main one measures.
    `first` is the folder of a finished pretraining: its weights are the start, with the vocabulary of this one. With
    `spelling` it is not trained on the text again, but learns which words exist, see `spell`.

    Raises UserError where `first` is not finished or has another shape, and what `freeze` raises.
    """
    world, base = together(base)
    writable_folder(out)
    prepare_torch(base)
    with world.main_first():  # the others read what it keeps
        written = freeze(out, text)
    known = dictionary()
    found = parts(written, known)
    say(base, f"texts ({out / FACTS}): " + ", ".join(f"{name} {len(texts):,}" for name, texts in found.items()))
    texts = {"train": epoch(found), "validation": builtin.pretraining_texts()["validation"]}
    start = out / "start"
    with world.main_first():
        if not start.exists():
            with save_folder_atomically(start) as folder:
                save_start(folder, texts["train"], recipe, base.seed, first)
    training = [text for part in found.values() for text in part]
    words = cache(lambda: words_of(training, known))
    settings = Settings(
        model=str(start),
        out=str(out / "run"),
        batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        warmup=recipe.warmup,
        schedule="cosine",
        max_length=recipe.context,
        save_every=recipe.save_every,
        seed=base.seed,
        precision=recipe.precision,
        threads=base.threads,
        quiet=base.quiet,
        resume=True,
    )
    if recipe.spelling is None:
        read(settings, recipe, texts)
    else:
        spell(settings, recipe.spelling, training, words().existing)
    if world.is_main:
        conclude(out, training, words().exists, base)
    return out / "film"


@dataclass(frozen=True)
class Words:
    """The words of the training texts that exist, and whether any word does."""

    existing: list[str]
    exists: Callable[[str], bool]


def words_of(training: Sequence[str], known: Callable[[str], bool]) -> Words:
    """A word exists if it is `known`, or if several of the texts have it."""
    counts = text_counts(training)
    exists = with_words(known, at_least(FEWEST_TEXTS, counts))
    return Words(list(filter(exists, counts)), exists)


def read(settings: Settings, recipe: Recipe, texts: dict[str, list[str]]) -> None:
    """Train on the texts, and keep the weights with the lowest validation loss."""
    settings = replace(
        settings,
        data="written text, WordNet's examples and the four corpora",
        eval_data="the four corpora, validation",
        epochs=recipe.epochs,
        weight_decay=recipe.weight_decay,
        eval_every=max(1, batches_per_epoch(len(texts["train"]), recipe.batch_size) // recipe.evaluations),
        save_best=True,
    )
    rows = {part: Dataset.from_dict({"text": found}) for part, found in texts.items()}
    dropout = partial(add_dropout, share=recipe.dropout)
    run_training(SFT(), settings, Given(rows["train"], rows["validation"]), dropout)


def spell(settings: Settings, updates: int, training: list[str], words: Sequence[str]) -> None:
    """On-policy distillation: the model completes beginnings of the texts, and learns from its own start without the
    words that are not among `words`, see `Speller`. Such texts are new to it, as those are that people will see."""
    lexicon = Lexicon(words, load_tokenizer(str(settings.model), Loading()))
    settings = replace(
        settings,
        data="beginnings of the training texts",
        steps=updates,
        experience=TaughtCompletions(
            teacher=settings.model,
            max_new_tokens=min(MOST_TOKENS, settings.max_length // 2),
            rollout=UPDATES * settings.batch_size,
        ),
    )
    prompts = Dataset.from_dict({"prompt": beginnings(training, updates * settings.batch_size, settings.seed)})

    def correct(models: Models) -> None:
        models.parts["teacher"] = Part("teacher", Speller(models.teacher, lexicon))

    run_training(Distil(divergence="js", js_beta=0.0), settings, Given(prompts), correct)


def beginnings(texts: Sequence[str], count: int, seed: int) -> list[str]:
    """The first words, up to `MOST_BEGUN` and perhaps none, of texts that are drawn."""
    random = Random(f"beginnings {seed}")
    return [" ".join(random.choice(texts).split()[: random.randint(0, MOST_BEGUN)]) for _ in range(count)]


def conclude(out: Path, training: list[str], exists: Callable[[str], bool], base: Settings) -> None:
    """Write `out/film`, what ships, and `out/film.json`, what is measured of it."""
    with save_folder_atomically(out / "film") as folder:
        export(out / "run" / "model", folder)
    say(base, "measuring")
    report = measure(load_policy(out / "film"), training, exists) | training_facts(out / "run")
    write_atomically(out / "film.json", json.dumps(report, indent=2, ensure_ascii=False) + "\n")


def save_start(folder: Path, texts: list[str], recipe: Recipe, seed: int, first: Path | None = None) -> None:
    """A tokenizer trained on the training texts alone, which puts BOS before a text, and a model of random weights, or
    of those of the pretraining in `first`."""
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(texts, vocab_size=recipe.vocabulary, special_tokens=list(SPECIAL.values()))
    save_model(folder, bpe._tokenizer, SPECIAL, recipe, seed, first)


def save_model(
    folder: Path, backend: Tokenizer, special: dict[str, str], recipe: Recipe, seed: int, first: Path | None = None
) -> None:
    """A byte-level tokenizer, which is made to put BOS before a text, and a model for it, see `save_start`.

    `special` are the names of BOS, EOS and PAD; of the recipe only shape and context count.
    """
    bos = special["bos_token"]
    backend.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, backend.token_to_id(bos))]),
        ]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=recipe.context, **special)
    torch.manual_seed(seed)
    config = shape(recipe, len(tokenizer))
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(config, name, getattr(tokenizer, name))
    model: Any = LlamaForCausalLM(config) if first is None else grown(first / "run" / "model", tokenizer, config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def shape(recipe: Recipe, vocabulary: int) -> LlamaConfig:
    """The recipe's architecture with so many ids."""
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=recipe.width,
        intermediate_size=recipe.hidden,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=recipe.context,
        tie_word_embeddings=True,
    )


def grown(folder: Path, tokenizer: PreTrainedTokenizerFast, config: LlamaConfig) -> Any:
    """The model in `folder` with the vocabulary of `tokenizer`, see `transfer_vocabulary`.

    Raises UserError where there is none, or one whose shape is not that of `config`.
    """
    if not (folder / "config.json").exists():
        raise UserError(f"{folder} is not there: --first is the folder of a pretraining that has finished")
    start = load_policy(folder)
    for name in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"):
        given, asked = getattr(start.model.config, name), getattr(config, name)
        if given != asked:
            raise UserError(f"{folder} has {name} {given}, and this pretraining {asked}: it cannot start from there")
    old: Any = start.tokenizer
    transfer_vocabulary(start.model, old, tokenizer)
    return start.model


def add_dropout(models: Models, share: float) -> None:
    """Add dropout where GPT-2 has it: on the embeddings and on the outputs of attention and MLP.

    Llama has none, because it was made for text that is read once. It acts during training only and is not saved.
    """
    model: Any = models.policy.model

    def drop(module: Any, inputs: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (torch.nn.functional.dropout(output[0], share, model.training), *output[1:])
        return torch.nn.functional.dropout(output, share, model.training)

    for part in (model.model.embed_tokens, *(p for layer in model.model.layers for p in (layer.self_attn, layer.mlp))):
        part.register_forward_hook(drop)


def export(model: Path, folder: Path) -> None:
    """The trained model in bfloat16, half the size, with its tokenizer."""
    load_policy(model).save(folder, "bfloat16")


def training_facts(run: Path) -> dict[str, Any]:
    """Tokens and time of the training run, and its evaluations."""
    metrics, timings = read_jsonl(run / "metrics.jsonl"), read_jsonl(run / "timings.jsonl")
    evaluations = [{k: m[k] for k in ("step", "epoch", "loss", "eval_loss")} for m in metrics if "eval_loss" in m]
    return {
        "tokens_seen": metrics[-1]["num_tokens"],
        "minutes": round(sum(t["seconds"] for t in timings) / 60, 1),
        "evaluations": evaluations,
        "written": time.strftime("%Y-%m-%d"),
    }
