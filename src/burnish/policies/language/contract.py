"""What Burnish relies on when it reads texts with a model, checked on random tokens when the model is loaded."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from burnish.ends import listed_ends
from burnish.policies.language.masks import packing
from burnish.policies.language.parts import body, context, embedding, head
from burnish.policies.language.positions import length_scaling
from burnish.policies.language.texts import CachedTexts
from burnish.run import UserError

LONG = 12  # tokens; more than the convolutions of recurrent families reach back
STEPS = 4
FAR = 2**17  # places in a cache; more than the positions at which any family changes what it does


@torch.no_grad()
def check_contract(model: PreTrainedModel) -> str | None:
    """Refuse a model that is not read as Burnish reads it, rather than train on wrong numbers.

    Two texts, each alone through the model's own forward pass, give the expected log-probabilities. Those of `head`,
    and of the texts in one batch padded on the right, must be the same: else UserError says what differs. So must be
    those of the texts padded on the left and decoded a token at a time with the cache: else the sentence that is
    returned says what differs, and the model can be trained, but not sampled with its cache.
    """
    config, name = model.config, f"{model.config.name_or_path} ({model.config.model_type})"
    try:
        if config.is_encoder_decoder or model.get_output_embeddings() is None:
            raise UserError(f"{name} is not a decoder-only language model")
        long, short = probes(model)
        expected = [model(input_ids=_padded(model, [text]), use_cache=False).logits[0] for text in (long, short)]
        if any(logits.isnan().any() for logits in expected):
            raise UserError(f"{name} gives numbers that are not finite: its weights are damaged")
        together = head(model, _hidden(model, [long, short]))
        near = tolerance(model)
        same = [agree(together[i, : len(one)], one, near) for i, one in enumerate(expected)]
        alone = all(same) or agree(head(model, _hidden(model, [long])[0]), expected[0], near)
    except UserError:
        raise
    except Exception as error:  # whatever the family's own code raises
        raise UserError(f"{name} cannot be read as a causal language model ({_reason(error)})") from error
    if not alone:
        raise UserError(f"{name} computes its logits in a way that Burnish does not support: please report the model")
    if not same[0]:
        raise UserError(f"{name} reads a text differently when another text is in the batch: please report the model")
    if not same[1]:
        raise UserError(f"{name} reads a token differently when others follow it: it is not a causal language model")
    return _check_cache(model, [long, short], expected, near)


@torch.no_grad()
def slot_problem(model: PreTrainedModel) -> str | None:
    """Why texts of different lengths are not decoded together; None where they are.

    A text whose last token is put far back in the cache, as beside a long text, must have the hidden state that it has
    alone: its positions are the same. What does not understand such a cache is not checked here.
    """
    text, far = probes(model)[1], min(context(model) or FAR, FAR) - LONG - 1
    if far < 1 or len(text) < 2:
        return None
    try:
        alone, found = (moved(model, text, places) for places in (0, far))
    except Exception:  # whatever the family's own code raises
        return None
    away = (found - alone).square().mean().sqrt()
    return None if away <= tolerance(model) * (alone.std() + 0.01) else "reads a token by its place in the cache"


def moved(model: PreTrainedModel, text: list[int], places: int) -> Float[Tensor, "1 d"]:
    """The hidden state of a text's last token, which is so many places further back in the cache."""
    texts = CachedTexts(model, [text[:-1]])
    texts.states()
    texts.extend(torch.tensor(text[-1:], device=model.device))
    texts.move_back(places)
    return texts.states().float()


def packing_of(model: PreTrainedModel) -> tuple[str | None, bool]:
    """Why the model's rows are padded rather than packed, None where packed rows are read as the texts alone; and
    whether the rows of a pack may be read one behind the other."""
    return packing(model, *probes(model), tolerance(model))


def _check_cache(model: PreTrainedModel, texts: list[list[int]], expected: list[Tensor], near: float) -> str | None:
    """What differs when the model reads texts with its cache, as the sampler does; None if nothing does."""

    def same(texts: list[list[int]], whole: bool = True) -> bool:
        found, wanted = decoded(model, texts, expected, whole)
        return not len(found) or agree(found, wanted, near)

    try:
        if same(texts):
            return None
        return (
            "reads a text differently a token at a time when it is padded on the left"
            if same(texts[:1], whole=False)
            else "reads a text differently a token at a time, with its cache"
        )
    except Exception as error:  # whatever the family's own code raises
        return f"has a cache that Burnish does not know ({_reason(error)})"


def decoded(
    model: PreTrainedModel, texts: list[list[int]], expected: list[Tensor], whole: bool = True
) -> tuple[Float[Tensor, "n V"], Float[Tensor, "n V"]]:
    """The logits of the last tokens of texts, decoded together with the cache, and those that are expected.

    The first of several texts is left out after two steps, as the sampler leaves out what has ended, and enters again,
    where the cache allows that. With `whole` off the model is given written columns of the cache alone.
    """
    steps = min(STEPS, min(map(len, texts)) - 1)
    starts = [len(text) - steps for text in texts]
    grown = CachedTexts(model, [text[:start] for text, start in zip(texts, starts, strict=True)], whole)
    rows = list(range(len(texts)))
    found, wanted = [expected[0][:0]], [expected[0][:0]]
    for step in range(steps):
        found.append(head(model, grown.states()))
        wanted += [expected[i][starts[i] + step - 1][None] for i in rows]
        if step == 1 and len(rows) > 1:
            rows = rows[1:]
            grown.keep(list(range(1, len(texts))))
            if grown.cache.joins:
                again = CachedTexts(model, [texts[0][: starts[0] + step]], whole)
                again.states()
                grown.join([again])
                rows = [*rows, 0]
        grown.extend(torch.tensor([texts[i][starts[i] + step] for i in rows], device=model.device))
    return torch.cat(found), torch.cat(wanted)


def probes(model: PreTrainedModel) -> tuple[list[int], list[int]]:
    """Two texts of random ordinary tokens, one longer than the other where the model's context has room for that."""
    config = model.config.get_text_config()
    scaling = length_scaling(config)
    limits = (LONG, getattr(config, "max_position_embeddings", None), scaling and scaling.original)
    length = min(limit for limit in limits if limit and limit > 0)
    words = embedding(model).num_embeddings
    special = {*listed_ends(config), *(getattr(config, f"{kind}_token_id", None) for kind in ("pad", "bos"))}
    ordinary = [i for i in range(words) if i not in special] if words < 100 else range(3, words)
    generator = torch.Generator().manual_seed(0)
    ids = [(ordinary or [0])[i] for i in torch.randint(len(ordinary) or 1, (2 * LONG,), generator=generator).tolist()]
    return ids[:length], ids[LONG : LONG + length // 2 + 1]


def agree(found: Float[Tensor, "*n V"], expected: Float[Tensor, "*n V"], near: float) -> bool:
    """Whether two tensors of logits give the same log-probabilities, up to `near` of how far these vary."""
    found, expected = found.double().log_softmax(-1), expected.double().log_softmax(-1)
    finite = expected[expected.isfinite()]
    error = torch.where(found == expected, 0.0, found - expected).square().mean().sqrt()
    return bool(error <= near * (finite.std() + 0.01))


def tolerance(model: PreTrainedModel) -> float:
    """The relative error that rounding alone may cause: with fewer bits, another order of sums shows."""
    exact = model.dtype in (torch.float32, torch.float64) and torch.get_float32_matmul_precision() == "highest"
    if not exact or getattr(model, "is_quantized", False):
        return 0.2
    return 1e-4 if model.device.type == "cpu" else 1e-3  # convolutions on a GPU use TF32 by default


def _padded(model: PreTrainedModel, texts: Sequence[Sequence[int]]) -> Tensor:
    rows = [torch.tensor(list(text), device=model.device) for text in texts]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


def _hidden(model: PreTrainedModel, texts: Sequence[Sequence[int]]) -> Tensor:
    return body(model)(input_ids=_padded(model, texts), use_cache=False).last_hidden_state


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
