"""Tiny random language models of several families, a tokenizer of whole words, and rows: made on the spot."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import probed  # noqa: F401
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from burnish.batches import Demonstrations, Preferences
from burnish.policies.language.policy import LanguagePolicy

Row = tuple[list[int], list[bool]]  # ids and mask

BOS, EOS, UNK = 0, 1, 2
WORDS = ("good", "bad", "film", "plot", "a", "the", "is", "was", "very", "not", "and", "but", "dull", "fine", "great")
VOCABULARY = 3 + len(WORDS)
CONTEXT = 48

_COMMON: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": CONTEXT,
    "initializer_range": 0.3,  # far from uniform, so that a wrong logit shows
    "bos_token_id": BOS,
    "eos_token_id": EOS,
    "pad_token_id": None,
}
_WITHOUT_GROUPS = {key: value for key, value in _COMMON.items() if key != "num_key_value_heads"}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": (
        "GPT2",
        {
            "vocab_size": VOCABULARY,
            "n_embd": 16,
            "n_layer": 2,
            "n_head": 2,
            "n_positions": CONTEXT,
            "initializer_range": 0.3,
            "resid_pdrop": 0.0,
            "embd_pdrop": 0.0,
            "attn_pdrop": 0.0,
            "bos_token_id": BOS,
            "eos_token_id": EOS,
        },
    ),
    "llama": ("Llama", _COMMON),
    "untied_llama": ("Llama", _COMMON | {"tie_word_embeddings": False}),
    "qwen": ("Qwen3", _COMMON | {"head_dim": 8, "tie_word_embeddings": True}),
    "mistral": ("Mistral", _COMMON | {"sliding_window": 4}),
    "gemma2": (
        "Gemma2",
        _COMMON | {"head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 4, "final_logit_softcapping": 1.5},
    ),
    "cohere": ("Cohere", _COMMON | {"logit_scale": 0.3}),
    "granite": ("Granite", _COMMON | {"logits_scaling": 3.0, "embedding_multiplier": 2.0}),
    "neox": ("GPTNeoX", _WITHOUT_GROUPS | {"tie_word_embeddings": False}),
    "opt": (
        "OPT",
        {key: value for key, value in _WITHOUT_GROUPS.items() if key not in ("intermediate_size", "initializer_range")}
        | {"ffn_dim": 24, "word_embed_proj_dim": 16, "init_std": 0.3, "pad_token_id": UNK},
    ),
}


def make_tokenizer(words: Iterable[str] = WORDS) -> PreTrainedTokenizerFast:
    """One id a word: BOS, which begins every text, EOS and UNK are 0, 1 and 2; there is no padding token."""
    vocabulary = {word: number for number, word in enumerate(("<s>", "</s>", "<unk>", *words))}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>", model_max_length=10**9
    )


def make_chat_tokenizer(*special: str) -> PreTrainedTokenizerFast:
    """`make_tokenizer` with a chat template that ends each turn with the word "plot", the special token 6.

    Other words can be `special` too: the template writes "a", 7, before each answer.
    """
    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens({"sep_token": "plot", "additional_special_tokens": list(special)})
    tokenizer.chat_template = (
        "{% for m in messages %}{{ 'the' if m.role == 'user' else 'a' }} {{ m.content }} plot {% endfor %}"
        "{% if add_generation_prompt %}a {% endif %}"
    )
    return tokenizer


REJECTING = (
    "{% for m in messages %}{% if 'really' in m.content %}{{ raise_exception('nothing is really so') }}{% endif %}"
    "{% endfor %}"
)
"""The beginning of a chat template that rejects messages with the word "really"."""


def make_model(family: str = "gpt2", seed: int = 0, **changes: Any) -> PreTrainedModel:
    """A random causal language model; `changes` go to its configuration."""
    name, options = FAMILIES[family]
    config = getattr(transformers, f"{name}Config")(**options | changes)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return getattr(transformers, f"{name}ForCausalLM" if name != "GPT2" else "GPT2LMHeadModel")(config)


def make_policy(family: str = "gpt2", seed: int = 0, double: bool = True, **changes: Any) -> LanguagePolicy:
    """A policy in float64, unless told otherwise."""
    model = make_model(family, seed, **changes)
    return LanguagePolicy(model.double() if double else model, make_tokenizer())


def save_model(folder: Path, family: str = "gpt2", seed: int = 0, **changes: Any) -> Path:
    """A model with its tokenizer, as transformers saves them."""
    make_model(family, seed, **changes).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def sentences(count: int, seed: int = 0, longest: int = 9) -> list[str]:
    """Random sentences of 1 to `longest` words."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, longest + 1, (count,), generator=generator).tolist()
    return [" ".join(WORDS[i] for i in torch.randint(len(WORDS), (n,), generator=generator)) for n in lengths]


def text_rows(count: int, seed: int = 0) -> list[dict[str, str]]:
    return [{"text": text} for text in sentences(count, seed)]


def pair_rows(count: int, seed: int = 0) -> list[dict[str, str]]:
    """Comparisons of random sentences with random prompts."""
    texts = sentences(3 * count, seed)
    parts = zip(texts[::3], texts[1::3], texts[2::3], strict=True)
    return [{"prompt": prompt, "chosen": f" good {one}", "rejected": f" bad {other}"} for prompt, one, other in parts]


def prompt_rows(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Prompts of random sentences, numbered in a column of their own."""
    return [{"prompt": text, "number": i} for i, text in enumerate(sentences(count, seed))]


def pad_rows(rows: list[Row], filler: int = 0, extra: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Ids and masks of different lengths as padded tensors, with their lengths."""
    width = max(len(ids) for ids, _ in rows) + extra
    tokens = torch.tensor([ids + [filler] * (width - len(ids)) for ids, _ in rows])
    mask = torch.tensor([list(mask) + [False] * (width - len(mask)) for _, mask in rows])
    return tokens, mask, torch.tensor([len(ids) for ids, _ in rows])


def demonstrations(rows: list[Row], filler: int = 0, extra: int = 0) -> Demonstrations:
    return Demonstrations(*pad_rows(rows, filler, extra), torch.arange(len(rows)))


def preferences(pairs: list[list[Row]], filler: int = 0, extra: int = 0) -> Preferences:
    """Groups of G responses each."""
    tokens, mask, lengths = pad_rows([row for group in pairs for row in group], filler, extra)
    shape = (len(pairs), len(pairs[0]))
    return Preferences(tokens.view(*shape, -1), mask.view(*shape, -1), lengths.view(shape), torch.arange(len(pairs)))


def random_rows(count: int, seed: int = 0, longest: int = 12, vocabulary: int = VOCABULARY) -> list[Row]:
    """Ids behind a BOS, with masks that have gaps; every row has at least one True, never in column 0."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for length in torch.randint(2, longest + 1, (count,), generator=generator).tolist():
        ids = torch.randint(vocabulary, (length,), generator=generator).tolist()
        mask = (torch.rand(length, generator=generator) < 0.6).tolist()
        mask[0], mask[-1] = False, mask[-1] or not any(mask[1:])
        rows.append(([BOS, *ids[1:]], mask))
    return rows


def random_completions(count: int, seed: int = 0) -> list[Row]:
    """Ids behind a BOS of which the last so many, one at least, were chosen."""
    generator = torch.Generator().manual_seed(seed)
    rows = random_rows(count, seed)
    starts = [int(torch.randint(1, len(ids), (1,), generator=generator)) for ids, _ in rows]
    return [(ids, [t >= start for t in range(len(ids))]) for (ids, _), start in zip(rows, starts, strict=True)]


def random_pairs(count: int, seed: int = 0, group: int = 2) -> list[list[Row]]:
    rows = random_rows(count * group, seed)
    return [rows[i : i + group] for i in range(0, len(rows), group)]


@dataclass(frozen=True)
class Table:
    """A policy whose log-probabilities are written down."""

    values: Tensor

    def logprobs(self, batch: Any) -> Tensor:
        return self.values

    def logprobs_and_entropy(self, batch: Any) -> tuple[Tensor, Tensor]:
        return self.values, torch.zeros_like(self.values)

    def parameters(self) -> dict[str, Any]:
        return {}

    def dropout(self, on: bool) -> None:
        """There is none."""


def naive_logprobs(model: PreTrainedModel, ids: list[int], mask: list[bool], temperature: float = 1.0) -> list[Tensor]:
    """The oracle: one unpadded row, the model's own full forward, log-softmax written out, one token at a time."""
    logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].double() / temperature
    out = []
    for t in range(len(ids)):
        if not mask[t]:
            out.append(torch.zeros((), dtype=torch.float64))
            continue
        before = logits[t - 1]
        largest = before.max().detach()
        out.append(before[ids[t]] - largest - (before - largest).exp().sum().log())
    return out
