"""A transformers model that reads rows of tokens: what policies, reward models and critics share."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from burnish.policies.language import adapters
from burnish.policies.language.balance import LoadBalance
from burnish.policies.language.casts import STEADY
from burnish.policies.language.contract import packing_of
from burnish.policies.language.dtypes import Dtype, dtype_to_save, written_in
from burnish.policies.language.layout import Bucket, buckets, empty
from burnish.policies.language.masks import read_packed
from burnish.policies.language.neftune import Neftune
from burnish.policies.language.packing import STEPS, Pack, call_cost, packs, prompt_lengths, rounded
from burnish.policies.language.parts import body, context
from burnish.policies.language.positions import length_scaling
from burnish.policies.language.saving import save_divided
from burnish.policies.language.sharding import Shards, shards_of
from burnish.policies.language.vocabulary import check_token
from burnish.run import warn
from burnish.run.world import World

TOKENS_AT_ONCE = {"cpu": 2048, "cuda": 16384}

T = TypeVar("T")

Head = Callable[[Tensor, Tensor], tuple[Tensor, ...]]
"""Tensors `[k, …]` from last hidden states `[k, d]` and the ids `[k]` of the tokens that follow them."""


class TokenReader:
    """A model with its tokenizer, run on the tokens before each masked place.

    `precision` "bfloat16" runs the model under autocast. `adapter` is the peft model that holds the adapter, where only
    an adapter is trained. `neftune` is the noise on the embeddings while dropout is on. `files` is the dtype of the
    files that the model was loaded from, where it was, and `weights_sha256` the hash of its weights before any of them
    were kept in fewer bits. `shards` are those of its weights, where processes divide them. `padded` says why the model
    cannot read packed rows, None where it can; `told` is what was said last of padded rows. `joins` says whether the
    rows of a pack may be joined.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        precision: str = "float32",
        adapter: Any = None,
        shards: Shards | None = None,
    ) -> None:
        self.model, self.tokenizer, self.precision, self.adapter = model, tokenizer, precision, adapter
        self.balance: LoadBalance | None = None
        self.neftune: Neftune | None = None
        self.files: torch.dtype | None = None
        self.weights_sha256: str | None = None
        self.told: str | None = None
        self.shards = shards
        self.scaling = length_scaling(model.config)
        model.train(False)
        self.padded, self.joins = self.checked(lambda: packing_of(model))

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def context(self) -> int | None:
        """The longest row that the model has positions for, where its configuration says so."""
        return context(self.model)

    @property
    def divided(self) -> bool:
        """Whether the weights are divided among the processes of a run."""
        return self.shards is not None

    @property
    def is_main(self) -> bool:
        """Whether this process writes what is not divided."""
        return self.shards is None or self.shards.world.is_main

    def divide(self, world: World, offload: bool = False) -> None:
        """Divide the weights among the processes, if they are not divided yet, see `Shards`."""
        if self.shards is None:
            self.shards = shards_of(self.model, world, self.adapter, offload)

    def together(self, function: Callable[[], T]) -> T:
        """What a function returns that calls the model, which all processes have to call together where they divide
        its weights."""
        return function() if self.shards is None else self.shards.reading(function)

    def gathered(self) -> AbstractContextManager[None]:
        """Inside, every process holds the whole weights; they have to call it together."""
        return nullcontext() if self.shards is None else self.shards.gathered()

    def staying(self) -> AbstractContextManager[None]:
        """What is read inside leaves embedding and head of divided weights whole until the model is read again."""
        return nullcontext() if self.shards is None else self.shards.staying()

    def checked(self, function: Callable[[], T]) -> T:
        """`together` without a gradient: nothing of divided weights is left whole."""
        with torch.no_grad():
            return self.together(function)

    def dropout(self, on: bool) -> None:
        """Switch dropout on or off; it is off wherever a ratio, a reference, a score or a value matters."""
        if self.model.training != on:  # to switch walks through every module
            self.model.train(on)

    def check_token(self, token: int, place: str) -> None:
        """Raise UserError, naming the `place`, for a token that the model's embedding has no row for."""
        check_token(token, self.model, self.tokenizer, place)

    def parameters(self) -> dict[str, nn.Parameter]:
        """The trainable parameters by name; a tied weight appears once."""
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    def save(self, folder: Path, dtype: Dtype = "auto") -> None:
        """Write weights and configuration for plain transformers, and the tokenizer; an adapter in peft's format.

        Weights are written in the dtype of the files that they were loaded from, and an adapter's in its own, or in
        `dtype`. The model in memory does not change. Processes that divide the weights have to call this together: the
        main one has made the folder.
        """
        if self.adapter is None and self.shards is not None:
            target = dtype_to_save(self.model, dtype, self.files)
            save_divided(self.model, folder, target, self.files, self.shards.world)
        elif not self.is_main:
            return
        elif self.adapter is None:
            target = dtype_to_save(self.model, dtype, self.files)
            with written_in(self.model, dict(self.model.named_parameters()), target, self.files):
                self.model.save_pretrained(folder)
        elif dtype == "auto":
            adapters.save(self.adapter, folder)
        else:
            with written_in(self.model, self.parameters(), getattr(torch, dtype), None):
                adapters.save(self.adapter, folder)
        if self.is_main:
            self.tokenizer.save_pretrained(folder)

    def numbers(
        self,
        tokens: Int[Tensor, "N T"],
        mask: Bool[Tensor, "N T"],
        lengths: Int[Tensor, "N"],
        head: Head,
        width: int,
        rows: Int[Tensor, "N"] | None = None,
        starts: Int[Tensor, "N"] | None = None,
    ) -> tuple[Float[Tensor, "N T ..."], ...]:
        """`head` of the hidden state before each place where the mask is True; 0 elsewhere. `width` is the states'.

        Each of the head's tensors has a graph of its own, so that one that no loss uses costs no backward pass. `rows`
        are the numbers of the rows, of which their noise is a function. `starts` are the lengths of their prompts, by
        default what stands before the first chosen place. Where the weights are divided, every process has to call it
        as often.
        """
        if tokens.numel():
            self.check_token(int(tokens.max()), "a text")
        return self.together(partial(self.read, tokens, mask, lengths, head, width, rows, starts))

    def read(
        self,
        tokens: Int[Tensor, "N T"],
        mask: Bool[Tensor, "N T"],
        lengths: Int[Tensor, "N"],
        head: Head,
        width: int,
        rows: Int[Tensor, "N"] | None,
        starts: Int[Tensor, "N"] | None,
    ) -> tuple[Float[Tensor, "N T ..."], ...]:
        """`numbers`, in one pass of the model or several."""
        if self.unpacked():
            return self.placed(self.padded_rows(tokens, mask, lengths, rows), mask, head, width)
        starts = prompt_lengths(mask, lengths) if starts is None else starts
        found = self.placed(self.packed_rows(tokens, mask, starts), mask, head, width)
        broken = bool(torch.stack([one.isnan().any() for one in found]).any())
        if broken if self.shards is None else self.shards.any(broken):
            # It reaches neighbours, as 0 · NaN is NaN: each row alone shows whose it is.
            found = self.placed(self.padded_rows(tokens, mask, lengths, rows, at_once=1), mask, head, width)
        return found

    def placed(
        self, parts: Iterator[tuple[Tensor, Bucket | Pack]], mask: Bool[Tensor, "N T"], head: Head, width: int
    ) -> tuple[Float[Tensor, "N T ..."], ...]:
        """`head` of hidden states, at the places that they belong to."""
        read = list(parts)
        none = torch.zeros(0, dtype=torch.long, device=mask.device)
        nothing = torch.zeros(0, width, dtype=self.model.dtype, device=mask.device)
        states = torch.cat([states for states, _ in read]) if read else nothing
        targets, rows, columns = (
            torch.cat([none, *(getattr(part, name) for _, part in read)]) for name in ("targets", "rows", "columns")
        )
        if spare := rounded(len(targets), self.steps) - len(targets):
            pad = nn.functional.pad
            states, targets = pad(states, (0, 0, 0, spare)), pad(targets, (0, spare))
        return tuple(
            values.new_zeros(*mask.shape, *values.shape[1:]).index_put((rows, columns), values[: len(rows)])
            for values in head(states, targets)
        )

    @property
    def half(self) -> bool:
        """Whether the model computes in bfloat16."""
        return self.precision == "bfloat16" or self.model.dtype == torch.bfloat16

    @property
    def steps(self) -> int | None:
        """How sizes are `rounded`; None where each is as good as another."""
        return STEPS if self.half and self.device.type == "cpu" else None

    def unpacked(self) -> bool:
        """Whether rows are read padded, which is said once."""
        reason = self.against_packing()
        if reason is not None and reason != self.told:
            self.told, config = reason, self.model.config
            warn(f"{config.name_or_path} ({config.model_type}) {reason}: rows are padded, not packed")
        return reason is not None

    def against_packing(self) -> str | None:
        """Why rows are read padded: the model cannot read packed ones, or something depends on the padded row."""
        if self.padded is not None:
            return self.padded
        if self.scaling is not None:
            return "has rotary positions that depend on the length of a row"
        if self.balance is not None:
            return "adds the load-balancing loss of its routers, a mean over whole rows"
        noisy = self.neftune is not None and self.model.training
        return "gets the noise of --neftune on whole rows" if noisy else None

    def packed_rows(
        self, tokens: Int[Tensor, "N T"], mask: Bool[Tensor, "N T"], starts: Int[Tensor, "N"]
    ) -> Iterator[tuple[Tensor, Bucket | Pack]]:
        """The hidden states of the rows in packs. While dropout is on, each row has a prompt of its own."""
        config = self.model.config.get_text_config()
        joins = self.joins and config._attn_implementation == "sdpa"  # a caller may have changed it
        starts = torch.zeros_like(starts) if self.model.training else starts
        call = call_cost(self.half) if joins else None
        parts = packs(tokens, mask, starts, self.at_once, config.hidden_size, call, self.steps)
        missing = self.missing(len(parts))
        for pack in parts:
            with self.autocast():
                hidden = read_packed(self.model, pack).last_hidden_state
            yield pack.states(hidden), pack
        yield from self.empty_passes(missing)

    def padded_rows(
        self,
        tokens: Int[Tensor, "N T"],
        mask: Bool[Tensor, "N T"],
        lengths: Int[Tensor, "N"],
        rows: Int[Tensor, "N"] | None,
        at_once: int | None = None,
    ) -> Iterator[tuple[Tensor, Bucket | Pack]]:
        """The hidden states of the rows in padded buckets of `at_once` tokens. Where rotary positions depend on a row's
        length, a row is read whole, beside rows with the same positions only."""
        last_too, at_once = self.balance is not None, at_once or self.at_once
        if self.scaling is None:
            parts = buckets(tokens, mask, at_once, last_too)
        else:
            parts = buckets(tokens, mask, at_once, last_too, lengths, self.scaling.kinds(lengths))
        missing = self.missing(len(parts))
        for bucket in parts:
            yield self.hidden(bucket, self.noise(bucket, lengths, rows))[bucket.chosen], bucket
        yield from self.empty_passes(missing)

    def missing(self, own: int) -> int:
        """The passes that other processes make and this one, with its `own`, does not, where weights are divided."""
        return 0 if self.shards is None else self.shards.passes(own) - own

    def empty_passes(self, count: int) -> Iterator[tuple[Tensor, Bucket]]:
        """The hidden states, of no token, of passes that gather the weights for the other processes."""
        for _ in range(count):
            bucket = empty(self.device)
            yield self.hidden(bucket, nullcontext())[bucket.chosen], bucket

    @property
    def at_once(self) -> int:
        """The largest number of tokens in one forward pass."""
        return TOKENS_AT_ONCE.get(self.device.type, TOKENS_AT_ONCE["cuda"])

    def hidden(self, bucket: Bucket, noise: AbstractContextManager[None]) -> Float[Tensor, "n s d"]:
        """The model's last hidden states of a bucket's rows."""
        with self.autocast():
            if self.scaling is not None and self.scaling.dynamic:  # else it keeps the frequencies of a longer row
                body(self.model)(input_ids=bucket.inputs[:1, :1], use_cache=False)
            with noise:
                output = body(self.model)(input_ids=bucket.inputs, use_cache=False)
        if self.balance is not None:
            self.balance.note(output, bucket)
        return output.last_hidden_state

    def noise(
        self, bucket: Bucket, lengths: Int[Tensor, "N"], rows: Int[Tensor, "N"] | None
    ) -> AbstractContextManager[None]:
        """NEFTune's noise on the bucket's rows, in training alone."""
        if self.neftune is None or rows is None or not self.model.training:
            return nullcontext()
        read = rows[bucket.lines].tolist()
        return self.neftune.on(self.model.get_input_embeddings(), read, lengths[bucket.lines].tolist())

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """The precision of the model's passes. Casts of weights are kept for a step, but not without a gradient, where
        weights may be others (see `StartingAdapter`), unless `keeping_casts` says that they are not; and not where a
        block's weights are given up behind a pass."""
        half, keep = self.precision == "bfloat16", torch.is_grad_enabled() or STEADY.get()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half, cache_enabled=keep and self.shards is None):
            yield
