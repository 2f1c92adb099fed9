"""A causal language model with a scalar head: one number per text (reward model) or per state (critic).

It is a sequence classifier with one label of the model's family. Where transformers has that class, a saved reward
model is plain transformers: its logits there are the scores before centring, and `score_offset` in its config is what
centring subtracts. Where it has none, `classifier_class` makes one, which Burnish alone loads.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from burnish.policies.language import adapters
from burnish.policies.language.adapters import Lora
from burnish.policies.language.classifier import ScalarHead, classifier_class
from burnish.policies.language.dtypes import Dtype
from burnish.policies.language.layout import behind_the_end
from burnish.policies.language.loading import (
    PLAIN,
    Loading,
    explained,
    load_config,
    load_tokenizer,
    quiet,
)
from burnish.policies.language.packing import prompt_lengths
from burnish.policies.language.parts import embedding
from burnish.policies.language.precision import resolved
from burnish.policies.language.reader import TokenReader
from burnish.policies.language.sharding import Shards, load_parts, shards_of
from burnish.policies.language.vocabulary import ADVICE, needed_rows, resize_embeddings
from burnish.run import UserError, read_mapping
from burnish.run.shards import divided_like


class LanguageScorer(TokenReader):
    """A scalar head on the hidden states of a causal language model: a `Scorer` and a `Critic`.

    score(text) = w·h(last real token) − offset; V(state) = w·h(last token of the state) − offset. A critic that starts
    from a reward model so starts on the scale of the centred scores, and agrees with it at the end of a text. The head
    stays in float32 or wider whatever the `precision`; with an `adapter`, the head is trained beside it.

    Ouyang et al. (2022), "Training language models to follow instructions with human feedback", section 3.5: the
    reward model, centred on demonstrations, and a value function initialised from the reward model.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        precision: str = "float32",
        adapter: Any = None,
        shards: Shards | None = None,
    ) -> None:
        super().__init__(model, tokenizer, precision, adapter, shards)
        self.checked(lambda: check_scalar_head(model))

    @property
    def offset(self) -> float:
        """What is subtracted from every score and value; 0 until `centre` is called. It is saved with the model."""
        return float(getattr(self.model.config, "score_offset", 0.0))

    def centre(self, mean: float) -> None:
        """Shift the scores so that texts whose *uncentred* scores average `mean` score 0 on average."""
        self.model.config.score_offset = float(mean)

    def scores(self, batch: Any) -> Float[Tensor, "*lead"]:
        """The score of each whole text, read at its last real token, `[B]` or `[B, G]` as the batch's `lengths`.

        In float32 or wider. A text's score does not depend on its padding, its neighbours or their order; a text
        without a token, which stands for a missing answer, scores 0.
        """
        lengths = batch.lengths.flatten()
        starts = prompt_lengths(batch.mask.flatten(0, -2), lengths)
        at_end = self._scalars(*behind_the_end(batch.tokens.flatten(0, -2), lengths), lengths, starts)
        return at_end.gather(1, lengths[:, None])[:, 0].view(batch.lengths.shape)

    def values(self, batch: Any) -> Float[Tensor, "*lead columns"]:
        """V of the state that each chosen token was chosen in, `[B, T+1]`; 0 where the mask is False.

        The state is everything before the token. The last column, V of the final state, is 0: an episode of language
        always terminates, also at the length limit.
        """
        values = self._scalars(batch.tokens.flatten(0, -2), batch.mask.flatten(0, -2), batch.lengths.flatten())
        return nn.functional.pad(values, (0, 1)).view(*batch.mask.shape[:-1], values.shape[1] + 1)

    def _scalars(
        self, tokens: Tensor, mask: Tensor, lengths: Tensor, starts: Tensor | None = None
    ) -> Float[Tensor, "N T"]:
        """The head minus the offset on what stands before each place where the mask is True; 0 elsewhere."""

        def head(hidden: Tensor, targets: Tensor) -> tuple[Tensor]:
            return (scalar_head(self.model, hidden) - self.offset,)

        width = cast(nn.Linear, self.model.score).in_features
        return self.numbers(tokens, mask, lengths, head, width, starts=starts)[0]

    def save(self, folder: Path, dtype: Dtype = "auto") -> None:
        """`TokenReader.save` of a sequence classifier of the family.

        transformers loads it where it has that class, and its base by `AutoModel` where it has not. The logits are w·h,
        the scores *before* centring: to have the scores, subtract `config.score_offset`. An adapter is written with the
        head, and beside it the configuration that says so.
        """
        super().save(folder, dtype)
        if self.adapter is not None and self.is_main:
            self.model.config.architectures = [type(self.model).__name__.removeprefix("FSDP")]
            self.model.config.save_pretrained(folder)


def scalar_head(model: PreTrainedModel, hidden: Float[Tensor, "k d"]) -> Float[Tensor, "k"]:
    """The scalar head's output for last hidden states, computed in float32 or wider whatever its weights' dtype."""
    layer = cast(nn.Linear, model.score)
    wide = torch.promote_types(layer.weight.dtype, torch.float32)
    bias = None if layer.bias is None else layer.bias.to(wide)
    return nn.functional.linear(hidden.to(wide), layer.weight.to(wide), bias)[..., 0]


@torch.no_grad()
def check_scalar_head(model: PreTrainedModel) -> None:
    """Refuse a model whose output is not `scalar_head` of its last hidden states, rather than train on wrong numbers.

    A text of 4 tokens and its first 2 tokens are read in one pass here and separately by the model's own forward pass,
    so that a model that looks ahead is refused too.
    """
    config = model.config
    name = f"{config.name_or_path} ({config.model_type})"
    if config.is_encoder_decoder or not hasattr(model, "score") or config.num_labels != 1:
        raise UserError(f"{name} is not a decoder-only language model with a head for one label: use one that is")
    words = embedding(model).num_embeddings
    # At a padding token the model would read an earlier position.
    pad = getattr(config.get_text_config(), "pad_token_id", None)
    probe = torch.tensor([[i for i in range(min(words, 6)) if i != pad][-4:]], device=model.device)
    hidden = model.base_model(input_ids=probe, use_cache=False).last_hidden_state[0]
    mixed = cast(nn.Linear, model.score).weight.dtype != hidden.dtype  # a trained head beside a bfloat16 base
    for length in (2, probe.shape[1]):
        with torch.autocast(model.device.type, hidden.dtype, enabled=mixed):
            expected = model(input_ids=probe[:, :length], use_cache=False).logits[0].float()
        found = scalar_head(model, hidden[length - 1][None]).float()
        near = 1e-3 if hidden.dtype in (torch.float32, torch.float64) else 5e-2
        if not torch.allclose(found, expected, rtol=max(near, 1e-2), atol=near):
            raise UserError(
                f"{name} computes its score in a way that Burnish does not support: please report the model"
            )


def load_scorer(
    name: str | Path,
    device: str = "cpu",
    precision: str = "float32",
    seed: int = 0,
    option: str = "--model",
    lora: Lora | None = None,
    loading: Loading = PLAIN,
) -> LanguageScorer:
    """Load any causal language model, or a sequence classifier with one label, as a scorer.

    A model without a head gets one, drawn from N(0, 1/(d + 1)) with `seed` (Stiennon et al. 2020; Huang et al. 2023,
    "The N Implementation Details of RLHF with PPO"). A model saved by `LanguageScorer.save` is loaded with its offset.
    Adapters and `lora` work as in `load_policy`; the head is always trained. Raises UserError, naming `option`, where
    the model cannot be loaded, has another head, or has no tokenizer.
    """
    precision = resolved(precision, device)
    with explained(option, name, "a reward model"):
        source = adapters.source_of(name, loading)
        with quiet_and_reproducible(seed):
            config = load_config(source.base, source.loading, num_labels=1)
            tokenizer = load_tokenizer(source.tokenizer, source.loading)
            kind = classifier_class(config)
            vocabulary = getattr(config.get_text_config(), "vocab_size", 0)
            pad = len(tokenizer) if no_padding(tokenizer) else tokenizer.pad_token_id  # added last, see pad_apart
            grows = not issubclass(kind, ScalarHead) and pad >= vocabulary
            whole = grows or (source.adapter is not None and lora is None)  # a row is added, or the adapter is
            model, found = load_parts(kind, source.base, config, source.loading, device, precision, whole)
        check_loaded(model, found, f"{option} {name}")
        if "score.weight" in found["missing_keys"]:
            new_head(cast(nn.Linear, model.score), seed)
        if source.loading.resize:
            resize_embeddings(model, tokenizer, source.base)
        if not isinstance(model, ScalarHead):
            pad_apart(model, tokenizer)
        model, adapter = adapters.with_adapter(model, source, lora, adapters.SCORER, seed, option)
        shards = shards_of(model, loading.world, adapter, loading.offload)
    if source.adapter is not None and (source.adapter / "config.json").exists():
        model.config.score_offset = float(read_mapping(source.adapter / "config.json").get("score_offset", 0.0))
    scorer = LanguageScorer(model, tokenizer, precision, adapter, shards)
    scorer.files = found["dtype"] if source.adapter is None or adapter is not None else None  # merged in float32
    return scorer


def check_loaded(model: PreTrainedModel, found: dict[str, Any], named: str) -> None:
    """Refuse what transformers loads with only a warning: a head of another shape, or missing weights."""
    if wrong := sorted(key for key, *_ in found["mismatched_keys"]):
        raise UserError(f"{named} is not a reward model: its {wrong[0]} has the wrong shape for one score per text")
    missing = {key for key in found["missing_keys"] if not key.startswith("score.")}
    if missing and isinstance(model, ScalarHead):
        raise UserError(
            f"{named} lacks {min(missing)}: its files are incomplete, or its family ({model.config.model_type}) is not "
            "decoder-only"
        )
    if missing and hasattr(model, "score"):
        raise UserError(f"{named} is incomplete: {min(missing)} is missing")


@contextmanager
def quiet_and_reproducible(seed: int) -> Iterator[None]:
    """Silence reports of new or unused weights, which are expected here, without touching the run's random numbers."""
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@torch.no_grad()
def new_head(head: nn.Linear, seed: int) -> None:
    """Draw a head's weights from N(0, 1/(d + 1)), reproducibly, so that initial scores are of order 1."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.empty(head.weight.shape, dtype=head.weight.dtype)
    drawn.normal_(0.0, (head.in_features + 1) ** -0.5, generator=generator)
    head.weight.copy_(divided_like(drawn, head.weight))
    if head.bias is not None:
        head.bias.zero_()


def no_padding(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the tokenizer has no padding token that texts cannot have."""
    others = (tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.unk_token_id)
    return tokenizer.pad_token_id is None or tokenizer.pad_token_id in others


@torch.no_grad()
def pad_apart(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Give model and tokenizer a padding token that no text ends with.

    transformers reads a text's score at the last non-padding token. If padding is EOS, that is one token too early, and
    without a padding token it refuses batches: then `<pad>` is added, with an embedding of zeros. Raises UserError
    where it would not be the first token without an embedding.
    """
    if no_padding(tokenizer):
        tokenizer.add_special_tokens({"pad_token": "<pad>"})
    words, pad = embedding(model).num_embeddings, tokenizer.pad_token_id
    if pad >= words:
        if any(words <= token < pad for token in tokenizer.get_vocab().values()):
            raise UserError(
                f"the tokenizer has {needed_rows(tokenizer) - 1} tokens, and the embedding {words} rows: {ADVICE}"
            )
        with quiet_and_reproducible(0):
            model.resize_token_embeddings(pad + 1, mean_resizing=False)
        embedding(model).weight[words:] = 0.0
    model.config.pad_token_id = pad
    model.config.get_text_config().pad_token_id = pad
