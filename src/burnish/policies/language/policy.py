"""A Hugging Face causal language model as a policy."""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import GENERATION_CONFIG_NAME

from burnish.ends import Ends, ends_of, listed_ends
from burnish.functional import action_logprobs, entropy
from burnish.policies.language import adapters
from burnish.policies.language.adapters import Lora
from burnish.policies.language.balance import load_balance
from burnish.policies.language.chosen import chosen_logprobs
from burnish.policies.language.contract import check_contract, slot_problem
from burnish.policies.language.dtypes import Dtype
from burnish.policies.language.loading import (
    PLAIN,
    Loading,
    check_complete,
    explained,
    load_config,
    load_tokenizer,
)
from burnish.policies.language.parts import head
from burnish.policies.language.precision import resolved
from burnish.policies.language.reader import TokenReader
from burnish.policies.language.sharding import Shards, load_parts, shards_of
from burnish.policies.language.vocabulary import resize_embeddings

LOGITS_AT_ONCE = 2**24  # elements of the largest logits tensor: 64 MB in float32

Numbers = Callable[[Tensor, Tensor], tuple[Tensor, ...]]
"""Tensors `[k]` from the logits `[k, V]` and ids `[k]` of chosen tokens."""


class LanguagePolicy(TokenReader):
    """log π(token | tokens before it) of a causal language model.

    Its log-softmax stays in float32 or wider whatever the `precision`. `temperature` divides the logits: what is
    sampled at a temperature is trained at it. `ends` are the tokens that end its texts. `uncached` says why the model
    is sampled without its cache; None if it is sampled with it. `by_slot` says why prompts of one length are sampled at
    a time; None if prompts of all lengths are sampled together.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        precision: str = "float32",
        temperature: float = 1.0,
        adapter: Any = None,
        shards: Shards | None = None,
    ) -> None:
        super().__init__(model, tokenizer, precision, adapter, shards)
        self.temperature = temperature
        self.uncached = self.checked(lambda: check_contract(model))
        self.by_slot = self.checked(lambda: slot_problem(model)) if self.uncached is None else None
        self.ends = ends_of_model(model, tokenizer)
        self.balance = load_balance(model)

    def logprobs(self, batch: Any) -> Float[Tensor, "*lead T"]:
        """Log-probabilities of the chosen tokens, `[B, T]` or `[B, G, T]`, in float32 or wider; 0 elsewhere.

        A row's numbers do not depend on its padding, its neighbours or their order.
        """
        return self._per_token(batch, lambda logits, targets: (chosen_logprobs(logits, targets),))[0]

    def logprobs_and_entropy(self, batch: Any) -> tuple[Float[Tensor, "*lead T"], Float[Tensor, "*lead T"]]:
        """`logprobs`, and the entropy in nats of the distribution that each chosen token was drawn from."""
        logprobs, entropies = self._per_token(
            batch, lambda logits, targets: (action_logprobs(logits, targets), entropy(logits))
        )
        return logprobs, entropies

    def divergences(
        self, batch: Any, teacher: "LanguagePolicy", formula: Callable[[Tensor, Tensor], Tensor]
    ) -> Float[Tensor, "*lead T"]:
        """`formula` of this policy's logits and the teacher's, `[k, V]` both, for each chosen token; 0 elsewhere.

        The logits of one chunk of tokens exist at a time, and are computed again in the backward pass.
        """
        own = self.states(batch)
        with torch.no_grad(), teacher.staying():
            theirs = teacher.states(batch)  # its head computes behind that, and again in the backward pass

        def one(hidden: Tensor, other: Tensor) -> Tensor:
            with torch.no_grad():
                fixed = teacher.logits(other)
            return formula(self.logits(hidden), fixed)

        size = max(1, LOGITS_AT_ONCE // self.model.get_output_embeddings().weight.shape[0])
        chunks = zip(own.split(size), theirs.split(size), strict=True)
        values = torch.cat([checkpoint(one, h, t, use_reentrant=False) for h, t in chunks])
        return values.new_zeros(batch.mask.shape).masked_scatter(batch.mask, values)

    def states(self, batch: Any) -> Float[Tensor, "k d"]:
        """The last hidden states before the chosen tokens, row by row."""
        tokens, mask, lengths = batch.tokens.flatten(0, -2), batch.mask.flatten(0, -2), batch.lengths.flatten()
        return self.numbers(tokens, mask, lengths, lambda hidden, targets: (hidden,), self.width)[0][mask]

    @property
    def width(self) -> int:
        """The width of the hidden states that the logits are computed from."""
        return self.model.get_output_embeddings().weight.shape[1]

    def logits(self, hidden: Float[Tensor, "k d"]) -> Float[Tensor, "k V"]:
        """The logits of the next tokens, divided by the temperature."""
        with self.autocast():
            logits = head(self.model, hidden)
        return logits if self.temperature == 1 else logits / self.temperature

    def own_losses(self) -> AbstractContextManager[dict[str, tuple[float, Tensor]]]:
        """The load-balancing loss of the routers in the passes inside, see `load_balance`; none for other models."""
        return nullcontext({}) if self.balance is None else self.balance.losses()

    def _per_token(self, batch: Any, numbers: Numbers) -> tuple[Float[Tensor, "*lead T"], ...]:
        """`numbers` of the logits and ids of chosen tokens, where they belong; 0 elsewhere."""
        tokens, mask, lengths = batch.tokens.flatten(0, -2), batch.mask.flatten(0, -2), batch.lengths.flatten()
        one_head = lambda hidden, targets: self._head_numbers(hidden, targets, numbers)  # noqa: E731
        rows = None
        if self.neftune is not None:  # each response of a row has noise of its own
            responses = len(tokens) // len(batch.rows)
            rows = (batch.rows[:, None] * responses + torch.arange(responses, device=tokens.device)).flatten()
        found = self.numbers(tokens, mask, lengths, one_head, self.width, rows)
        return tuple(one.view(batch.mask.shape) for one in found)

    def _head_numbers(
        self, hidden: Float[Tensor, "k d"], targets: Int[Tensor, "k"], numbers: Numbers
    ) -> tuple[Float[Tensor, "k"], ...]:
        """Numbers from hidden states, with the logits of one chunk of tokens at a time.

        The logits of the last chunk are kept for the backward pass, which begins with it; those of the others are
        recomputed there, when the last ones are gone.
        """

        def one(h: Tensor, t: Tensor) -> tuple[Tensor, ...]:
            return numbers(self.logits(h), t)

        size = max(1, LOGITS_AT_ONCE // self.model.get_output_embeddings().weight.shape[0])
        before, kept = hidden[:-size], hidden[-size:]
        chunks = zip(before.split(size), targets[:-size].split(size), strict=True)
        found = [checkpoint(one, h, t, use_reentrant=False) for h, t in chunks if len(t)]
        return tuple(map(torch.cat, zip(*found, one(kept, targets[-size:]), strict=True)))

    def save(self, folder: Path, dtype: Dtype = "auto") -> None:
        """`TokenReader.save`, with a generation configuration that lists all `ends`.

        peft does not read one from an adapter's folder: load it with `GenerationConfig.from_pretrained`.
        """
        super().save(folder, dtype)
        if self.is_main:
            save_ends(self.model, self.ends, folder)


def load_policy(
    name: str | Path,
    device: str = "cpu",
    precision: str = "float32",
    lora: Lora | None = None,
    seed: int = 0,
    loading: Loading = PLAIN,
) -> LanguagePolicy:
    """Load any model that `AutoModelForCausalLM` loads, by name or folder.

    An adapter is loaded with its base and merged into the weights. With `lora` only an adapter is trained: a new one,
    initialised with `seed`, or the one that `name` is. Raises UserError where the model cannot be loaded, lacks
    weights, or has no tokenizer.
    """
    precision = resolved(precision, device)
    with explained("--model", name, "a causal language model"):
        source = adapters.source_of(name, loading)
        config = load_config(source.base, source.loading)
        tokenizer = load_tokenizer(source.tokenizer, source.loading)
        merges = source.adapter is not None and lora is None
        base, found = load_parts(
            AutoModelForCausalLM, source.base, config, source.loading, device, precision, whole=merges
        )
        check_complete(base, source.base, found)
        if source.loading.resize:
            resize_embeddings(base, tokenizer, source.base)
        model, adapter = adapters.with_adapter(base, source, lora, adapters.POLICY, seed)
        shards = shards_of(model, loading.world, adapter, loading.offload)
    policy = LanguagePolicy(model, tokenizer, precision, adapter=adapter, shards=shards)
    policy.files = found["dtype"] if source.adapter is None or adapter is not None else None  # merged in float32
    return policy


def ends_of_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Ends:
    """The ends that the tokenizer, the chat template, and the generation configuration or else the model's own name."""
    vocabulary = model.get_output_embeddings().weight.shape[0]
    generation = getattr(model, "generation_config", None)  # a model class of the user's own may have none
    return ends_of(tokenizer, generation, model.config.get_text_config(), vocabulary=vocabulary)


def save_ends(model: PreTrainedModel, ends: Ends, folder: Path) -> None:
    """Write the generation configuration with all `ends`, so that plain `generate()` stops where sampling does.

    The rest of it stays as it was loaded: transformers refuses to save some published ones once they are changed.
    """
    if not model.can_generate():
        return
    config = copy.deepcopy(model.generation_config)
    if set(ends.ids) != set(listed_ends(config)):
        config.eos_token_id = ends.ids[0] if len(ends.ids) == 1 else list(ends.ids)
        config._from_model_config = False  # else transformers 4 would go back to the ends in config.json
    config.to_json_file(folder / GENERATION_CONFIG_NAME, keys_to_pop=["compile_config"])
