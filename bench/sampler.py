"""Tokens a second of the sampler beside `transformers.generate`, in CPU seconds of one process, A B A B.

python bench/sampler.py [--family gpt2 llama] [--batch 32 128 256] [--new 48] [--rounds 3] [--out sampler.json]

The "small" model: 6 layers, 256 wide, vocabulary 4,096, random weights; as Llama with grouped queries (8 heads, 2 for
keys). Prompts have 8 to 40 random tokens. Three kinds of work: completions of full length; completions that end at
random (on average after 32 tokens); and 8 completions of each prompt. Every token that is part of a completion counts,
and `generate` has the same prompts, left-padded in one batch.
"""

import argparse
import json
import random
import time
from collections.abc import Callable
from pathlib import Path

import torch
from tokenizers import Tokenizer, models
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging

from burnish.ends import Ends
from burnish.policies.language.policy import LanguagePolicy
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


def by_sampler(policy: LanguagePolicy, prompts: list[list[int]], new: int) -> int:
    """The number of tokens that Burnish sampled."""
    return sum(map(len, sample(policy, prompts, seed=0, max_new_tokens=new).tokens))


def by_generate(policy: LanguagePolicy, prompts: list[list[int]], new: int) -> int:
    """The number of tokens that `generate` sampled, without those behind the end of a row."""
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    ends = list(policy.ends.ids) or None
    found = policy.model.generate(
        input_ids=ids,
        attention_mask=mask,
        do_sample=True,
        top_k=0,
        max_new_tokens=new,
        eos_token_id=ends,
        pad_token_id=WORDS - 1,
    )
    ended = torch.isin(found[:, width:], torch.tensor(ends or [-1])).cumsum(1)
    return int((ended == 0).sum() + (ended[:, -1] > 0).sum())


def rates(policy: LanguagePolicy, prompts: list[list[int]], new: int, rounds: int) -> dict[str, float]:
    """The best tokens per CPU second of each side, and their ratio."""
    best = {"burnish": 0.0, "generate": 0.0}
    sides: dict[str, Callable[..., int]] = {"burnish": by_sampler, "generate": by_generate}
    for _ in range(rounds):
        for name, side in sides.items():
            start = time.process_time()
            count = side(policy, prompts, new)
            best[name] = max(best[name], count / (time.process_time() - start))
    return best | {"ratio": best["burnish"] / best["generate"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", nargs="+", default=["gpt2", "llama"], choices=["gpt2", "llama"])
    parser.add_argument("--batch", nargs="+", type=int, default=[32, 128, 256])
    parser.add_argument("--new", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    flags = parser.parse_args()
    torch.set_num_threads(flags.threads)
    logging.set_verbosity_error()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=_tokenizer(), eos_token="</s>")
    found = []
    for family in flags.family:
        policy = LanguagePolicy(make_model(family), tokenizer)
        for batch in flags.batch:
            prompts = make_prompts(batch)
            for work, ends, rows in (
                ("full length", (), prompts),
                ("random ends", tuple(range(WORDS // 32)), prompts),
                ("8 of each prompt", (), [prompt for prompt in prompts[: batch // 8] for _ in range(8)]),
            ):
                policy.ends = Ends(ends, None)
                numbers = rates(policy, rows, flags.new, flags.rounds)
                found.append({"family": family, "batch": batch, "work": work} | numbers)
                print(
                    f"{family:6} batch {batch:4} {work:17} burnish {numbers['burnish']:6.0f} tokens/s, "
                    f"generate {numbers['generate']:6.0f}, ratio {numbers['ratio']:.2f}",
                    flush=True,
                )
    if flags.out:
        flags.out.write_text(json.dumps(found, indent=1) + "\n")


def _tokenizer() -> Tokenizer:
    """One word, and the end: nothing is decoded."""
    return Tokenizer(models.WordLevel({"<unk>": 0, "</s>": 1}, unk_token="<unk>"))


if __name__ == "__main__":
    main()
