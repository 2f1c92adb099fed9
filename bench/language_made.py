"""Makes what both sides of bench/language.py read: tokenizer, models with random weights, rows. Run as a process.

python bench/language_made.py FOLDER SIZE…
"""

import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from language_works import SIZES, WORKS
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from burnish.data import builtin

EOS, PAD = "<|endoftext|>", "<|pad|>"
CONTEXT = 1024
WORDS = 4096
LONG_PROMPT = 160  # tokens, about
OPENING = "Review:"
LETTERS = 90  # shorter snippets are left out: rows of about 35 tokens remain


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE, learned from the built-in film reviews. It adds no token by itself."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=WORDS,
        special_tokens=[EOS, PAD],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(builtin.demonstrations("train")["text"], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=EOS, pad_token=PAD, model_max_length=CONTEXT)


def make_model(size: str, scorer: bool, seed: int) -> PreTrainedModel:
    """A model of random weights, without dropout; a `scorer` has a head for one number in place of the vocabulary."""
    shape = dict(SIZES[size])
    family = shape.pop("family")
    options: dict[str, Any] = shape | {"bos_token_id": None, "eos_token_id": 0, "pad_token_id": 1}
    if scorer:
        options["num_labels"] = 1
    torch.manual_seed(seed)
    if family == "llama":
        config = LlamaConfig(**options, max_position_embeddings=CONTEXT, tie_word_embeddings=True)
        return (LlamaForSequenceClassification if scorer else LlamaForCausalLM)(config)
    off = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    config = GPT2Config(**options, **off, n_positions=CONTEXT)
    return (GPT2ForSequenceClassification if scorer else GPT2LMHeadModel)(config)


def shape_of(model: PreTrainedModel) -> dict[str, int]:
    """What the count of FLOPs has to know about a language model."""
    config = model.config
    inside = [p for name, p in model.base_model.named_parameters() if p.dim() == 2 and "embed" not in name]
    words = [p for name, p in model.base_model.named_parameters() if name in ("wte.weight", "wpe.weight")]
    matrices = sum(p.numel() for p in inside) - sum(p.numel() for p in words)
    return {
        "matrices": matrices,
        "layers": config.num_hidden_layers,
        "hidden": config.hidden_size,
        "vocabulary": config.vocab_size,
    }


def rows(kind: str, tokenizer: PreTrainedTokenizerFast) -> Iterator[dict[str, Any]]:
    """Rows of one of the files, without end for as long as there are film reviews."""
    if kind == "texts":
        # With a prompt: of a bare text TRL counts the first token, which nothing predicts, in the denominator.
        texts = (text for text in builtin.demonstrations("train")["text"] if len(text) >= LETTERS)
        yield from ({"prompt": OPENING, "completion": " " + text} for text in texts)
        return
    if kind == "prompts":
        yield from ({"prompt": row["prompt"]} for row in builtin.prefixes("train"))
        return
    pairs = [r for r in builtin.comparisons("train") if min(len(r["chosen"]), len(r["rejected"])) >= LETTERS]
    context = iter(builtin.rated("gold")["text"])
    for number, row in enumerate(pairs):
        chosen, rejected = " " + row["chosen"], " " + row["rejected"]
        if kind == "labelled":
            good = number % 2 == 0
            yield {"prompt": OPENING, "completion": chosen if good else rejected, "label": good}
        else:
            prompt = OPENING if kind == "short" else long_prompt(context, tokenizer)
            yield {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def long_prompt(texts: Iterator[str], tokenizer: PreTrainedTokenizerFast) -> str:
    """Film reviews one behind the other, and a last line that asks for one more."""
    found, size = [], 0
    while size < LONG_PROMPT - 15:
        found.append(next(texts))
        size += len(tokenizer(found[-1])["input_ids"]) + 1
    return "\n".join([*found, OPENING])


def main(folder: Path, sizes: list[str]) -> None:
    tokenizer, shapes = make_tokenizer(), {}
    for size in sizes:
        for scorer in (False, True):
            model = make_model(size, scorer, seed=int(scorer))
            place = folder / (f"{size}-scorer" if scorer else size)
            model.save_pretrained(place)
            tokenizer.save_pretrained(place)
            if not scorer:
                shapes[size] = shape_of(model)
    for kind in {work.data for work in WORKS.values()}:
        for size in sizes:
            count = max(work.counts[size] for work in WORKS.values() if work.data == kind)
            lines = [json.dumps(row) + "\n" for row in islice(rows(kind, tokenizer), count)]
            for work in WORKS.values():
                if work.data == kind:
                    (folder / f"{kind}-{work.counts[size]}.jsonl").write_text("".join(lines[: work.counts[size]]))
    print(json.dumps(shapes))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
