"""Attention in packed rows: what transformers' masks must be for a model to read each text of a row by itself.

transformers describes the mask of each kind of layer (full, sliding window, chunks) by a function of two places in a
row. In a packed row the same function is asked about the tokens' positions in their texts, and combined with which
parts a token may see. So a layer's window reaches as far as it does when each text is read alone.

In a joined pack the mask has the rows one by one, as many as there are, and attention goes through them by turns.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface
from transformers.modeling_utils import AttentionInterface

from burnish.policies.language.attention import sdpa
from burnish.policies.language.packing import Block, Pack, laid_out
from burnish.policies.language.parts import body

IMPLEMENTATIONS = ("sdpa", "eager")
"""The implementations of attention in transformers that follow any mask."""

PACK: ContextVar[Pack | None] = ContextVar("pack", default=None)
"""The pack that this thread is reading."""

LAYERS = frozenset({"full_attention", "sliding_attention", "chunked_attention"})
"""The kinds of layers that see other tokens through a mask alone."""


def read_packed(model: PreTrainedModel, pack: Pack) -> Any:
    """The output of the model's body for a pack's rows."""
    if pack.plain:
        return body(model)(input_ids=pack.inputs, use_cache=False)
    ids, positions = pack.read(pack.inputs), pack.read(pack.positions)
    real = torch.ones_like(ids)  # else transformers guesses from the positions where texts begin
    with packed_masks(pack):
        return body(model)(input_ids=ids, attention_mask=real, position_ids=positions, use_cache=False)


@contextmanager
def packed_masks(pack: Pack) -> Iterator[None]:
    """Inside, and in this thread alone, the masks that transformers makes are those of the pack."""
    token = PACK.set(pack)
    try:
        yield
    finally:
        PACK.reset(token)


def following_packs(original: Callable[..., Any]) -> Callable[..., Any]:
    """A function of transformers that makes masks, which follows the pack that is being read, if one is."""

    def masks(*given: Any, **asked: Any) -> Any:
        pack = PACK.get()
        if pack is None:
            return original(*given, **asked)
        own = asked["mask_function"]

        def seen(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            positions = pack.positions[row, query], pack.positions[row, key]
            return pack.visible(row, query, key) & own(row, head, *positions)

        asked |= {"mask_function": seen, "attention_mask": None, "allow_is_causal_skip": False}
        if pack.sizes is None:
            return original(**asked)
        rows, columns = pack.inputs.shape
        mask = original(**asked | {"batch_size": rows, "q_length": columns, "kv_length": columns})
        mask.sizes = pack.sizes  # not the context variable: a layer that is computed again has the mask alone
        return mask

    return masks


def row_by_row(original: Callable[..., Any]) -> Callable[..., Any]:
    """A function that attends as transformers' own do, which takes the rows of a joined pack by turns."""

    def attend(
        module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, *given: Any, **options: Any
    ) -> tuple[Tensor, None]:
        sizes = getattr(attention_mask, "sizes", None)
        if sizes is None:
            return original(module, query, key, value, attention_mask, *given, **options)
        masks = [mask[None, :, :size, :size] for mask, size in zip(attention_mask, sizes, strict=True)]
        parts = zip(*(one.split(sizes, 2) for one in (query, key, value)), masks, strict=True)
        return torch.cat([original(module, *part, *given, **options)[0] for part in parts], 1), None

    return attend


for _name in IMPLEMENTATIONS:
    AttentionMaskInterface.register(_name, following_packs(AttentionMaskInterface()[_name]))
AttentionInterface.register("sdpa", row_by_row(sdpa))


def packing(model: PreTrainedModel, long: list[int], short: list[int], near: float) -> tuple[str | None, bool]:
    """Why the model's rows are not packed, None where they are; and whether packs may be joined.

    A text, another with the same beginning, and a third, in one row, must have the hidden states that each has alone,
    up to `near` of how far these vary. Packs are not joined on a GPU, where attention to many rows at once is faster.
    """
    if (problem := unpackable(model)) is not None:
        return problem, False
    start = (len(long) + 1) // 2
    texts = [long, [*long[:start], *short[: len(short) - 1]], short]
    try:
        expected = alone(model, texts)
        if not near_to(packed(model, texts, start, joined=False), expected, near):
            return "reads a text differently behind another one", False
    except Exception as error:  # whatever the family's own code raises
        return f"cannot read packed rows ({(str(error).strip() or type(error).__name__).splitlines()[0]})", False
    if model.config.get_text_config()._attn_implementation != "sdpa" or model.device.type != "cpu":
        return None, False
    try:
        return None, near_to(packed(model, texts, start, joined=True), expected, near)
    except Exception:
        return None, False


def unpackable(model: PreTrainedModel) -> str | None:
    """What the model's configuration and code say against packed rows; None if nothing."""
    config = model.config.get_text_config()
    if config._attn_implementation not in IMPLEMENTATIONS:
        return f"runs with attention {config._attn_implementation}"
    if not model._supports_attention_backend or model._is_stateful:
        return "has layers that transformers does not run with sdpa"
    if not LAYERS.issuperset(getattr(config, "layer_types", None) or ()):
        return "has layers that read a row from its beginning to its end"
    if getattr(config, "attn_temperature_tuning", False):  # Llama 4; seen only in rows longer than the probes
        return "scales attention by a token's place in its row"
    return None


@torch.no_grad()
def alone(model: PreTrainedModel, texts: list[list[int]]) -> Float[Tensor, "k d"]:
    """The last hidden states of texts, each read by itself."""
    read = [body(model)(input_ids=torch.tensor([text], device=model.device), use_cache=False) for text in texts]
    return torch.cat([output.last_hidden_state[0] for output in read]).float()


@torch.no_grad()
def packed(model: PreTrainedModel, texts: list[list[int]], start: int, joined: bool) -> Float[Tensor, "k d"]:
    """The same of three texts in a pack, of which the first two share `start` tokens."""
    blocks = [Block([0, 1], start, [len(text) - start for text in texts[:2]]), Block([2], 0, [len(texts[2])])]
    ids, chosen = _table(texts)
    rows = [[block] for block in blocks] if joined else [blocks]
    pack = laid_out(rows, ids.numpy(), chosen.numpy(), model.device, joined)
    return pack.states(read_packed(model, pack).last_hidden_state).float()


def near_to(found: Float[Tensor, "k d"], expected: Float[Tensor, "k d"], near: float) -> bool:
    """Whether hidden states are those expected, up to `near` of how far these vary."""
    return bool((found - expected).square().mean().sqrt() <= near * (expected.std() + 0.01))


def _table(texts: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Texts as rows of ids, with a mask that is True behind every token, so that all hidden states are asked for."""
    width = max(map(len, texts)) + 1
    ids = torch.tensor([text + [0] * (width - len(text)) for text in texts])
    columns = torch.arange(width)
    return ids, torch.stack([(columns > 0) & (columns <= len(text)) for text in texts])
