"""Batches: frozen dataclasses of tensors that select rows, move between devices, and count themselves.

A row belongs to one episode; a completion is an episode. `mask` is True where the policy chose the token or action. It
is the only mask: prompt, padding and masked-out tokens are all False. Rows are padded on the right. What an algorithm's
`prepare` adds to a batch is a type of its own, which holds the batch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor

R = TypeVar("R", bound="Rows")  # not Self, which the checks of shapes do not know outside a decorated class


class Rows:
    """What generic code asks of every batch, prepared or not."""

    rows: Tensor
    """Row numbers in the data set, so that an error can name them."""
    mask: Tensor
    lengths: Tensor

    def __len__(self) -> int:
        return self.rows.shape[0]

    def select(self: R, index: Tensor | slice) -> R:
        """The batch of these rows, in this order. A 0-d tensor holds for all rows and stays."""
        parts = {name: value for name, value in self._parts().items() if isinstance(value, Rows) or value.dim() > 0}
        chosen = {name: v.select(index) if isinstance(v, Rows) else v[index] for name, v in parts.items()}
        return replace(self, **chosen)  # type: ignore[type-var]

    def joined(self: R, others: Sequence[R]) -> R:
        """The rows of this batch and of others of its kind, one behind the other. A 0-d tensor is the same in all."""
        together: dict[str, Any] = {}
        for name, value in self._parts().items():
            more = [getattr(other, name) for other in others]
            if isinstance(value, Rows):
                together[name] = value.joined(more)
            elif value.dim():
                together[name] = torch.cat([value, *more])
        return replace(self, **together)  # type: ignore[type-var]

    def to(self: R, device: str | torch.device) -> R:
        """The batch on `device`."""
        return replace(self, **{name: value.to(device) for name, value in self._parts().items()})  # type: ignore[type-var]

    def _parts(self) -> dict[str, Any]:
        """Tensors, and the batch inside a prepared one, by field; fields that are None are left out."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        return {name: value for name, value in values.items() if value is not None}

    def counted(self) -> Bool[Tensor, "B"]:
        """The rows that count: those in which the policy chose something."""
        return self.mask.any(-1)

    def counts(self) -> dict[str, Tensor]:
        """The denominators that a `Term` may divide by, for this part of a batch; those of all parts add up."""
        return {"token": self.mask.sum(), "sequence": self.mask.any(-1).sum(), "row": self.counted().sum()}


@dataclass(frozen=True)
class Demonstrations(Rows):
    """Texts to imitate: prompt and response as one row of tokens.

    `tokens[b, t]` for t < `lengths[b]` are the ids that the model sees; `mask` is True on response tokens.
    """

    tokens: Int[Tensor, "B T"]
    mask: Bool[Tensor, "B T"]
    lengths: Int[Tensor, "B"]
    rows: Int[Tensor, "B"]


@dataclass(frozen=True)
class Preferences(Rows):
    """A prompt with G ≥ 2 responses, best first; a pair is G = 2 with `chosen` = 0 and `rejected` = 1.

    A row with fewer than G responses has an all-False mask in the missing ones. `margins` say how much better the
    chosen response is, in the judge's units; `confidences` are the probabilities that the labels are right. Both are
    None where the data do not say.
    """

    tokens: Int[Tensor, "B G T"]
    mask: Bool[Tensor, "B G T"]
    lengths: Int[Tensor, "B G"]
    rows: Int[Tensor, "B"]
    margins: Float[Tensor, "B"] | None = None
    confidences: Float[Tensor, "B"] | None = None

    def counted(self) -> Bool[Tensor, "B"]:
        """The rows with at least two responses."""
        return self.mask.any(-1).sum(1) >= 2

    def counts(self) -> dict[str, Tensor]:
        """`Rows.counts`, and as "chosen" the real tokens of the first responses of the rows that count."""
        return super().counts() | {"chosen": (self.mask[:, 0] & self.counted()[:, None]).sum()}


@dataclass(frozen=True)
class Feedback(Rows):
    """Single responses labelled good or bad, without a partner to compare with.

    Response 0 is the row's own; response 1 is another row's response behind this row's prompt. These mismatched texts
    estimate how far the policy has moved from the reference. `desirable` labels response 0.
    """

    tokens: Int[Tensor, "B 2 T"]
    mask: Bool[Tensor, "B 2 T"]
    lengths: Int[Tensor, "B 2"]
    rows: Int[Tensor, "B"]
    desirable: Bool[Tensor, "B"]

    def counted(self) -> Bool[Tensor, "B"]:
        """The rows whose own response has a real token."""
        return self.mask[:, 0].any(-1)

    def counts(self) -> dict[str, Tensor]:
        """`Rows.counts`, the counts of either label, and as "chosen" the real tokens of the rows' own responses."""
        rows = self.counted()
        own = {"desirable": (rows & self.desirable).sum(), "undesirable": (rows & ~self.desirable).sum()}
        return super().counts() | {"chosen": (self.mask[:, 0] & rows[:, None]).sum()} | own


@dataclass(frozen=True)
class Episodes(Rows):
    """Completions that a policy sampled, with a reward for every token.

    Three log-probabilities of the same tokens: `sampler_logprobs` of the distribution that they were drawn from,
    `old_logprobs` of the trained policy before the rollout's first update, and `ref_logprobs` of the reference, None
    where nothing uses one. `discounts` is gamma, and 0 on the step that terminated. `limit` is the largest number of
    tokens that a completion may have. `ptx` are texts to imitate beside the completions, as many, with the weight of
    their loss; None where there are none. `weights` are what the policy's loss of each token is multiplied by where the
    sampler was not the policy; None: 1. `values` are the critic's while the batch is prepared, None elsewhere.
    """

    tokens: Int[Tensor, "B T"]
    mask: Bool[Tensor, "B T"]
    lengths: Int[Tensor, "B"]
    rows: Int[Tensor, "B"]
    sampler_logprobs: Float[Tensor, "B T"]
    old_logprobs: Float[Tensor, "B T"]
    rewards: Float[Tensor, "B T"]
    discounts: Float[Tensor, "B T"]
    limit: Int[Tensor, ""]
    ref_logprobs: Float[Tensor, "B T"] | None = None
    ptx: Demonstrations | None = None
    ptx_weight: Float[Tensor, ""] | None = None
    weights: Float[Tensor, "B T"] | None = None
    values: Float[Tensor, "B T_plus_1"] | None = None

    def counts(self) -> dict[str, Tensor]:
        """`Rows.counts`, as "constant" the tokens that the completions could have at most (Dr. GRPO's divisor), and as
        "ptx" the real tokens of the texts beside them."""
        own = {} if self.ptx is None else {"ptx": self.ptx.mask.sum()}
        return super().counts() | {"constant": self.counted().sum() * self.limit} | own


@dataclass(frozen=True, kw_only=True)
class GroupEpisodes(Episodes):
    """Episodes of which G at a time answer one prompt; each row carries the scores of its whole group.

    `peers` are the scores of the G completions of the row's prompt, the same numbers in the same order in each of their
    rows, and `place` says which of them is the row's own. So what a group says of a row can be computed from the row
    alone, in whatever minibatch it is. A score is the sum of the row's `rewards`. `peers_kl` are the summed
    log-ratios to the reference of the same completions, Σ_t log π_old(y_t) − log π_ref(y_t), None without a reference.
    """

    peers: Float[Tensor, "B G"]
    place: Int[Tensor, "B"]
    peers_kl: Float[Tensor, "B G"] | None = None

    def own(self, peers: Float[Tensor, "B G"]) -> Float[Tensor, "B"]:
        """Of one number per completion of the group, the row's own."""
        return peers.gather(1, self.place[:, None])[:, 0]


@dataclass(frozen=True)
class Transitions(Rows):
    """Steps of R runs in their environments, in lockstep: a row is an episode, or a piece of one.

    `observations` has one column more than there are steps, for the final state; single steps to learn from have none.
    `old_logprobs` are those of the policy that acted, or of the one that learns where steps are late; `weights` are
    then what its loss of each step is multiplied by (None: 1). `discounts` is gamma, and 0 on the step that terminated.
    `runs` are the runs' numbers, `progress` the share behind each, `values` the critic's while the batch is prepared.
    """

    observations: Num[Tensor, "R B T_or_one_more O"]
    actions: Int[Tensor, "R B T"] | Int[Tensor, "R B T K"] | Float[Tensor, "R B T A"]
    mask: Bool[Tensor, "R B T"]
    lengths: Int[Tensor, "R B"]
    rows: Int[Tensor, "B"]
    old_logprobs: Float[Tensor, "R B T"]
    rewards: Float[Tensor, "R B T"]
    discounts: Float[Tensor, "R B T"]
    runs: Int[Tensor, "R"]
    progress: Float[Tensor, "R"]
    weights: Float[Tensor, "R B T"] | None = None
    values: Float[Tensor, "R B T_plus_1"] | None = None

    def counts(self) -> dict[str, Tensor]:
        """Real steps, and rows with one, per run `[R]`."""
        rows = self.mask.any(-1).sum(-1)
        return {"token": self.mask.sum((-2, -1)), "sequence": rows, "row": rows}


@dataclass(frozen=True)
class Replayed(Rows):
    """Steps of R runs that are learned from apart from the rollout that they were made in, each with what followed.

    A row begins with an observation and the action chosen there, and goes on for up to n steps of that episode, the
    real ones first: `rewards` and `discounts` (gamma, and 0 on the step that terminated) are those of its steps, and
    `reached` is the observation that the last of them led to. A run whose mask is False everywhere learns nothing.
    `noise` is standard normal, for the actions that a loss draws: one after the row, one in its first place. `runs` and
    `progress` are as in `Transitions`.
    """

    observations: Num[Tensor, "R B O"]
    actions: Int[Tensor, "R B"] | Float[Tensor, "R B A"]
    rewards: Float[Tensor, "R B n"]
    discounts: Float[Tensor, "R B n"]
    mask: Bool[Tensor, "R B n"]
    reached: Num[Tensor, "R B O"]
    lengths: Int[Tensor, "R B"]
    rows: Int[Tensor, "B"]
    runs: Int[Tensor, "R"]
    progress: Float[Tensor, "R"]
    noise: Float[Tensor, "R B 2 A"] | None = None

    @property
    def real(self) -> Bool[Tensor, "R B"]:
        """The rows with a step."""
        return self.mask[..., 0]

    def counts(self) -> dict[str, Tensor]:
        """Real steps, and rows with one, per run `[R]`."""
        rows = self.real.sum(-1)
        return {"token": self.mask.sum((-2, -1)), "sequence": rows, "row": rows}

    def split(self, size: int) -> "Iterator[Replayed]":
        """Parts of `size` rows of every run, in order; the last one may be smaller."""
        if size >= len(self):
            yield self
            return
        names = [name for name, value in self._parts().items() if name != "rows" and value.dim() > 1]
        for at in range(0, len(self), size):
            own = {name: getattr(self, name)[:, at : at + size] for name in names}
            yield replace(self, **own, rows=self.rows[at : at + size])


class Prepared(Rows):
    """A batch together with what `prepare` computed for it."""

    batch: Any

    @property
    def rows(self) -> Tensor:  # type: ignore[override]
        return self.batch.rows

    @property
    def mask(self) -> Tensor:  # type: ignore[override]
        return self.batch.mask

    @property
    def lengths(self) -> Tensor:  # type: ignore[override]
        return self.batch.lengths

    def counted(self) -> Tensor:
        return self.batch.counted()

    def counts(self) -> dict[str, Tensor]:
        return self.batch.counts()


@dataclass(frozen=True)
class PreparedPreferences(Prepared):
    """Preferences with the reference's log-probabilities of their tokens, None for methods without a reference."""

    batch: Preferences
    ref_logprobs: Float[Tensor, "B G T"] | None = None


@dataclass(frozen=True)
class PreparedFeedback(Prepared):
    """Feedback with the reference's log-probabilities, and `kl`, how far the policy has moved: one number."""

    batch: Feedback
    ref_logprobs: Float[Tensor, "B 2 T"]
    kl: Float[Tensor, ""]


@dataclass(frozen=True)
class PreparedEpisodes(Prepared):
    """Episodes or transitions with what the updates of a rollout keep fixed; 0 at masked places.

    `old_values` are the critic's values of the states that steps began in, and `returns` what it learns; None without
    a critic. `kl_penalty` is the current coefficient of an adaptive penalty on KL(π_old‖π), one per run.
    """

    batch: Any
    advantages: Float[Tensor, "*runs B T"]
    old_values: Float[Tensor, "*runs B T"] | None = None
    returns: Float[Tensor, "*runs B T"] | None = None
    kl_penalty: Float[Tensor, "*runs"] | None = None


@dataclass(frozen=True)
class Drawn:
    """What an experience draws: a batch, for files of the run its metrics, samples, events (what happened, in order)
    and `spent` seconds, and for the checkpoint `state`, numbers that the next draw starts from."""

    batch: Any
    metrics: dict[str, float] = field(default_factory=dict)
    samples: list[dict[str, Any]] = field(default_factory=list)
    state: dict[str, float] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    spent: dict[str, float] = field(default_factory=dict)
