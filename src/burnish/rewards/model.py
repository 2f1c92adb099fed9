"""A reward model as a reward: it scores exactly the ids that the policy produced."""

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
    """What is asked of a reward model here: the scores of whole rows of ids."""

    tokenizer: Any

    @property
    def device(self) -> torch.device: ...

    @property
    def context(self) -> int | None:
        """The longest row that it can read, None where there is no such limit."""
        ...

    def dropout(self, on: bool) -> None: ...

    def scores(self, batch: Any) -> Tensor:
        """`[N]`, one score a row."""
        ...


@dataclass(frozen=True)
class ModelReward:
    """The scorer's scores, without gradient and with dropout off. The ids are never decoded and tokenised again."""

    name: str
    scorer: TextScorer

    @torch.no_grad()
    def __call__(self, completed: Completed) -> Sequence[float]:
        batch, context = completed.batch.to(self.scorer.device), self.scorer.context
        lengths = batch.lengths.tolist()
        if context is not None and (long := [i for i, length in enumerate(lengths) if length > context]):
            rows = [completed.rows[i] for i in long]
            raise BadRewardError(
                f"the reward model {self.name} reads at most {context} tokens and {named(rows)} has {lengths[long[0]]} "
                "with its completion: use shorter prompts or completions, or another reward model",
                rows,
            )
        self.scorer.dropout(False)
        return self.scorer.scores(batch).double().cpu().tolist()


def model_reward(scorer: TextScorer, tokenizer: "transformers.PreTrainedTokenizerBase", name: str) -> ModelReward:
    """A reward model for a policy with this tokenizer. Raises UserError where the two read ids differently."""
    check_same_tokenizer(tokenizer, scorer.tokenizer, name)
    return ModelReward(name, scorer)


def check_same_tokenizer(
    policy: "transformers.PreTrainedTokenizerBase", scorer: "transformers.PreTrainedTokenizerBase", name: str
) -> None:
    """Raise UserError unless every id of the policy's is the same token of the reward model's, EOS included.

    The reward model may know more tokens: padding, which is often added to classify. How text becomes ids may differ,
    since no text is tokenised.
    """
    ours, theirs = policy.get_vocab(), scorer.get_vocab()
    different = sorted(token for token, number in ours.items() if theirs.get(token) != number)
    if different:
        problem = f"{len(different)} of the policy's {len(ours)} tokens, {different[0]!r} for one, are others there"
    elif policy.eos_token_id != scorer.eos_token_id:
        problem = f"texts end with {policy.eos_token!r} here and {scorer.eos_token!r} there"
    else:
        return
    raise UserError(
        f"the reward model {name} has another tokenizer than the policy ({problem}): train a reward model from this "
        "model or from one of its family"
    )
