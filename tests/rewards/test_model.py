"""Reward models as rewards: the ids that they score, and the tokenizers that they reject."""

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from tiny import make_tokenizer

from burnish.rewards.completed import BadRewardError, checked_scores
from burnish.rewards.model import model_reward
from burnish.run import UserError

from .conversations import completed


@dataclass
class Sum:
    """A scorer that adds up the real ids, with a parameter, and remembers what it was asked."""

    tokenizer: Any = field(default_factory=make_tokenizer)
    context: int | None = None
    device: torch.device = torch.device("cpu")
    trained: bool = True
    weight: torch.Tensor = field(default_factory=lambda: torch.ones((), requires_grad=True))

    def dropout(self, on: bool) -> None:
        self.trained = on

    def scores(self, batch: Any) -> torch.Tensor:
        assert not self.trained
        assert not torch.is_grad_enabled()
        real = torch.arange(batch.tokens.shape[1]) < batch.lengths[:, None]
        return (self.weight * batch.tokens * real).sum(1)


def test_it_scores_the_sampled_ids() -> None:
    """Row i holds 0 … i: sums 0, 1, 3."""
    scorer = Sum()
    assert checked_scores(model_reward(scorer, make_tokenizer(), "rm"), completed("a", "b", "c")) == [0.0, 1.0, 3.0]


def test_a_row_longer_than_the_context_is_named() -> None:
    reward = model_reward(Sum(context=2), make_tokenizer(), "rm")
    with pytest.raises(BadRewardError, match="rm reads at most 2 tokens, and row 12 has 3 with its completion"):
        checked_scores(reward, completed("a", "b", "c"))
    assert len(checked_scores(reward, completed("a", "b"))) == 2


def test_a_tokenizer_with_padding_added_is_the_same() -> None:
    more = make_tokenizer()
    more.add_special_tokens({"pad_token": "<pad>"})
    assert model_reward(Sum(more), make_tokenizer(), "rm").name == "rm"
    with pytest.raises(UserError, match=r"1 of the policy's 19 tokens differ, such as '<pad>'"):
        model_reward(Sum(), more, "rm")


def test_another_tokenizer_is_an_error() -> None:
    with pytest.raises(
        UserError, match=r"the reward model rm and the policy have different tokenizers \(2 of .* 'one'"
    ):
        model_reward(Sum(make_tokenizer(["two", "one"])), make_tokenizer(["one", "two"]), "rm")
    other = make_tokenizer()
    other.eos_token = "great"
    with pytest.raises(UserError, match="the EOS token is '</s>' for the policy but 'great' for the reward model"):
        model_reward(Sum(other), make_tokenizer(), "rm")
