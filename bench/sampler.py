"""Tokens a second of the sampler beside `transformers.generate`, in CPU seconds of one process, A B A B.

python bench/sampler.py [--family gpt2 llama] [--batch 32 128 256] [--new 48] [--rounds 3] [--out sampler.json]

The "small" model: 6 layers, 256 wide, vocabulary 4,096, random weights; as Llama with grouped queries (8 heads, 2 for
keys). Prompts have 8 to 40 random tokens. Three kinds of work: completions of full length; completions that end at
random (on average after 32 tokens); and 8 completions of each prompt. Every token that is part of a completion counts,
and `generate` has the same prompts, left-padded in one batch. Each side loads the model its own way from one folder.
"""

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from language import machine
from tokenizers import Tokenizer, models
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging

from burnish.ends import Ends
from burnish.policies.language.policy import LanguagePolicy, load_policy
from burnish.policies.language.sampler import sample

WORDS = 4096


def make_model(family: str) -> PreTrainedModel:
    """The small model with random weights."""
    torch.manual_seed(0)
    if family == "gpt2":
        sizes = {"vocab_size": WORDS, "n_embd": 256, "n_layer": 6, "n_head": 8, "n_positions": 512}
        return GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=1)).eval()
    heads = {"num_attention_heads": 8, "num_key_value_heads": 2}
    sizes = {"vocab_size": WORDS, "hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 6}
    return LlamaForCausalLM(LlamaConfig(**sizes, **heads, max_position_embeddings=512)).eval()


def make_prompts(count: int) -> list[list[int]]:
    """Random prompts of different lengths."""
    numbers = random.Random(0)
    return [[numbers.randrange(200, WORDS) for _ in range(numbers.randint(8, 40))] for _ in range(count)]


def both_sides(family: str) -> tuple[LanguagePolicy, PreTrainedModel]:
    """The small model, loaded by Burnish and by transformers."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=_tokenizer(), unk_token="<unk>", eos_token="</s>")
    with tempfile.TemporaryDirectory() as folder:
        make_model(family).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return load_policy(folder), AutoModelForCausalLM.from_pretrained(folder).eval()


def by_sampler(policy: LanguagePolicy, prompts: list[list[int]], new: int) -> int:
    """The number of tokens that Burnish sampled."""
    return sum(map(len, sample(policy, prompts, seed=0, max_new_tokens=new).tokens))


def by_generate(model: PreTrainedModel, prompts: list[list[int]], new: int, ends: list[int]) -> int:
    """The number of tokens that `generate` sampled, without those behind the end of a row."""
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    found = model.generate(
        input_ids=ids,
        attention_mask=mask,
        do_sample=True,
        top_k=0,
        max_new_tokens=new,
        eos_token_id=ends or None,
        pad_token_id=WORDS - 1,
    )
    ended = torch.isin(found[:, width:], torch.tensor(ends or [-1])).cumsum(1)
    return int((ended == 0).sum() + (ended[:, -1] > 0).sum())


def rates(
    policy: LanguagePolicy, model: PreTrainedModel, prompts: list[list[int]], new: int, rounds: int
) -> dict[str, float]:
    """The best tokens per CPU second of each side, and their ratio."""
    best = {"burnish": 0.0, "generate": 0.0}
    sides: dict[str, Callable[[], int]] = {
        "burnish": lambda: by_sampler(policy, prompts, new),
        "generate": lambda: by_generate(model, prompts, new, list(policy.ends.ids)),
    }
    for _ in range(rounds):
        for name, side in sides.items():
            start = time.process_time()
            count = side()
            best[name] = max(best[name], count / (time.process_time() - start))
    return best | {"ratio": best["burnish"] / best["generate"]}


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", nargs="+", default=["gpt2", "llama"], choices=["gpt2", "llama"])
    parser.add_argument("--batch", nargs="+", type=int, default=[32, 128, 256])
    parser.add_argument("--new", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    flags = parser.parse_args(words)
    torch.set_num_threads(flags.threads)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    where, found = machine(), []
    for family in flags.family:
        policy, model = both_sides(family)
        for batch in flags.batch:
            prompts = make_prompts(batch)
            for work, ends, rows in (
                ("full length", (), prompts),
                ("random ends", tuple(range(WORDS // 32)), prompts),
                ("8 of each prompt", (), [prompt for prompt in prompts[: batch // 8] for _ in range(8)]),
            ):
                policy.ends = Ends(ends, None)
                numbers = rates(policy, model, rows, flags.new, flags.rounds)
                found.append({"family": family, "batch": batch, "work": work} | numbers)
                print(
                    f"{family:6} batch {batch:4} {work:17} burnish {numbers['burnish']:6.0f} tokens/s, "
                    f"generate {numbers['generate']:6.0f}, ratio {numbers['ratio']:.2f}",
                    flush=True,
                )
    if flags.out:
        shared = {"threads": flags.threads, "rounds": flags.rounds, "new": flags.new, "machine": where}
        flags.out.write_text(json.dumps(shared | {"results": found}, indent=1) + "\n")


def _tokenizer() -> Tokenizer:
    """One word, and the end: nothing is decoded."""
    return Tokenizer(models.WordLevel({"<unk>": 0, "</s>": 1}, unk_token="<unk>"))


if __name__ == "__main__":
    main()
