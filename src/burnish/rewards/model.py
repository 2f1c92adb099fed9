"""Reward models as rewards: they score exactly the ids that the policy sampled."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from burnish.rewards.completed import BadRewardError, Completed, named
from burnish.run import UserError

if TYPE_CHECKING:
    import transformers


@runtime_checkable
class TextScorer(Protocol):
    """Protocol of reward models: scores rows of ids."""

    tokenizer: Any

    @property
    def device(self) -> torch.device: ...

    @property
    def divided(self) -> bool:
        """Whether each process of a run holds a part of the weights; all of them call `scores` together then."""
        ...

    @property
    def context(self) -> int | None:
        """The longest row that the model accepts; None if there is no limit."""
        ...

    def dropout(self, on: bool) -> None: ...

    def scores(self, batch: Any) -> Tensor:
        """`[N]`, one score per row."""
        ...


@dataclass(frozen=True)
class ModelReward:
    """The scores of a reward model, without gradient or dropout. Ids are passed directly, never decoded."""

    name: str
    scorer: TextScorer

    @torch.no_grad()
    def __call__(self, completed: Completed) -> Sequence[float]:
        self.check(completed)
        self.scorer.dropout(False)
        return self.scorer.scores(completed.batch.to(self.scorer.device)).double().cpu().tolist()

    def check(self, completed: Completed) -> None:
        """Raise BadRewardError for completions that are too long for the model."""
        lengths, context = completed.batch.lengths.tolist(), self.scorer.context
        if context is not None and (long := [i for i, length in enumerate(lengths) if length > context]):
            rows = [completed.rows[i] for i in long]
            raise BadRewardError(
                f"the reward model {self.name} reads at most {context} tokens, and {named(rows)} has "
                f"{lengths[long[0]]} with its completion: use shorter prompts or completions, or another reward model",
                rows,
            )


def model_reward(scorer: TextScorer, tokenizer: "transformers.PreTrainedTokenizerBase", name: str) -> ModelReward:
    """Wrap a reward model for a policy with this tokenizer. Raises UserError if their token ids differ."""
    check_same_tokenizer(tokenizer, scorer.tokenizer, name)
    return ModelReward(name, scorer)


def check_same_tokenizer(
    policy: "transformers.PreTrainedTokenizerBase", scorer: "transformers.PreTrainedTokenizerBase", name: str
) -> None:
    """Raise UserError unless all of the policy's token ids, EOS included, mean the same to the reward model.

    The reward model may have additional tokens, such as padding. How text is split into tokens may differ, because no
    text is tokenised.
    """
    ours, theirs = policy.get_vocab(), scorer.get_vocab()
    different = sorted(token for token, number in ours.items() if theirs.get(token) != number)
    if different:
        problem = f"{len(different)} of the policy's {len(ours)} tokens differ, such as {different[0]!r}"
    elif policy.eos_token_id != scorer.eos_token_id:
        problem = f"the EOS token is {policy.eos_token!r} for the policy but {scorer.eos_token!r} for the reward model"
    else:
        return
    raise UserError(
        f"the reward model {name} and the policy have different tokenizers ({problem}): train a reward model from the "
        "same model family"
    )
