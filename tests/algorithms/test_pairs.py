"""What the methods on pairs share: sums and means over real tokens, the likelihood beside, metrics and checks."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import pytest
import tiny
import torch
from phases import ready
from torch import Tensor

from burnish.algorithms import pairs
from burnish.algorithms.dpo import DPO
from burnish.algorithms.exo import EXO
from burnish.algorithms.hinge import Hinge
from burnish.algorithms.ipo import IPO
from burnish.algorithms.online_dpo import OnlineDPO
from burnish.algorithms.pairs import PairLogprobs, Pairwise
from burnish.algorithms.reward_model import RewardModel
from burnish.algorithms.table import LANGUAGE, load
from burnish.batches import PreparedPreferences
from burnish.policies.interface import Models
from burnish.training.step import objective

from .one_pair import batch_of, loss_of, numbers

ON_PAIRS = [name for name in LANGUAGE if issubclass(load(name), Pairwise)]


def test_both_responses_by_hand() -> None:
    """See `one_pair`: junk stands behind the mask, also of the reference."""
    reference = torch.where(batch_of().mask, -1.0, math.nan).double()
    models = Models(policy=tiny.Table(numbers()), reference=tiny.Table(reference))
    prepared = ready(DPO(), models, batch_of())
    found = PairLogprobs(prepared.batch, models.policy.logprobs(prepared.batch), prepared.ref_logprobs)
    assert found.logps.tolist() == [[-3.0, -9.0]]
    assert found.mean_logps.tolist() == [[-1.5, -3.0]]
    assert found.logratios.tolist() == [[-1.0, -6.0]]
    assert found.mean_logratios.tolist() == [[-0.5, -2.0]]
    assert (found.confidence, found.margins) == (1.0, 0.0)
    soft = PairLogprobs(batch_of(0.5, 0.7), numbers(), None)
    assert soft.confidence.tolist() == [0.7]  # type: ignore[union-attr]
    assert soft.margins.tolist() == [0.5]  # type: ignore[union-attr]


@dataclass(frozen=True)
class It(Pairwise):
    """A method whose losses are written down."""

    name = "it"
    given: tuple[float, ...] = ()
    nll: float = 0.5
    beta: float = 1.0

    def losses(self, pairs: PairLogprobs) -> Tensor:
        return torch.tensor(self.given)

    def rewards(self, pairs: PairLogprobs) -> Tensor:
        return torch.zeros(3, 2)

    def weights(self) -> tuple[float, float]:
        return 2.0, self.nll


def test_the_likelihood_is_a_mean_over_tokens_of_chosen_responses_that_count() -> None:
    """Chosen responses of 2 tokens (−1, −2), of 1 (−5), and of 1 (−100) whose partner is silent: 8/3. The losses are 4
    and 6, and 100 of the third: 5."""
    row = [0, 4, 5, 6]
    masks = [[0, 1, 1, 0], [0, 1, 0, 0]], [[0, 0, 1, 0], [0, 1, 1, 1]], [[0, 0, 0, 1], [0, 0, 0, 0]]
    batch = tiny.preferences([[(row, [bool(m) for m in mask]) for mask in pair] for pair in masks])
    logprobs = torch.full(batch.mask.shape, -7.0)
    logprobs[0, 0, 1:3] = torch.tensor([-1.0, -2.0])
    logprobs[1, 0, 2], logprobs[2, 0, 3] = -5.0, -100.0
    models, prepared = Models(policy=tiny.Table(logprobs)), PreparedPreferences(batch)
    found = It((4.0, 6.0, 100.0)).loss(models, prepared)
    assert found.terms.keys() == {"it", "nll"}
    assert objective(found, prepared.counts()).item() == pytest.approx(2 * 5 + 0.5 * 8 / 3)
    assert It((0.0, 0.0, 0.0), nll=0.0).loss(models, prepared).terms.keys() == {"it"}


def test_metrics_by_hand() -> None:
    found = pairs.metrics(torch.tensor([[1.0, 0.5], [0.0, 0.0], [-1.0, 2.0]]), torch.tensor([[-1.0, -2.0]] * 3))
    assert found["rewards/accuracies"].tolist() == [1.0, 0.5, 0.0]
    assert found["rewards/margins"].tolist() == [0.5, 0.0, -3.0]
    assert found["logps/rejected"].tolist() == [-2.0] * 3


@pytest.mark.parametrize("name", ON_PAIRS)
def test_slopes_are_those_of_the_loss(name: str) -> None:
    """No part of a method is cut off from the gradient: it agrees with finite differences at every real token."""
    algorithm, values = load(name)(), 1.1 * numbers()  # IPO has no slope where the aim is met
    mask = batch_of().mask
    leaf = values.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss_of(algorithm, leaf), leaf)
    for place in mask.nonzero().tolist():
        up, down = values.clone(), values.clone()
        up[tuple(place)] += 1e-5
        down[tuple(place)] -= 1e-5
        expected = (loss_of(algorithm, up) - loss_of(algorithm, down)).item() / 2e-5
        assert slope[tuple(place)].item() == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert slope[mask].abs().max() > 1e-3


@pytest.mark.parametrize("name", ON_PAIRS)
def test_soft_labels_count_where_they_are_taken(name: str) -> None:
    """A method either has another loss for a label of 0.7, or refuses the data."""
    algorithm = load(name)()
    batch = batch_of(confidence=0.7)
    changed = loss_of(algorithm, numbers(), confidence=0.7) != loss_of(algorithm, numbers())
    assert changed == load(name).soft_labels == (algorithm.refuses(batch, 2) is None)


@pytest.mark.parametrize("name", [name for name in ON_PAIRS if load(name).soft_labels])
def test_a_sure_label_is_as_good_as_none(name: str) -> None:
    algorithm = load(name)()
    sure, plain = loss_of(algorithm, numbers(), confidence=1.0), loss_of(algorithm, numbers())
    assert sure.item() == pytest.approx(plain.item(), rel=1e-12)


@pytest.mark.parametrize("name", [name for name in ON_PAIRS if "reference" not in load(name).roles])
def test_what_has_no_reference_asks_for_none(name: str) -> None:
    algorithm, batch = load(name)(), batch_of()
    models = Models(policy=tiny.Table(numbers()))
    prepared = ready(algorithm, models, batch)
    assert prepared.ref_logprobs is None
    assert algorithm.loss(models, prepared).terms


def test_data_that_a_method_cannot_use_are_refused() -> None:
    """In a sentence that says what to do; margins only where their weight asks for them."""
    assert "ranks 3 responses, but ipo learns from pairs" in (IPO().refuses(batch_of(), 3) or "")
    assert "only apply to pairs" in (RewardModel().refuses(batch_of(confidence=0.7), 3) or "")
    assert RewardModel().refuses(batch_of(), 3) is None
    assert "hinge does not use confidences" in (Hinge().refuses(batch_of(confidence=0.7), 2) or "")
    assert "no column margin" in (DPO(margin_weight=1.0).refuses(batch_of(), 2) or "")
    assert DPO(margin_weight=1.0).refuses(batch_of(margin=1.0), 2) is None
    assert DPO().refuses(batch_of(), 2) is None


@pytest.mark.parametrize("name", [name for name in LANGUAGE if load(name).data == "preferences"])
def test_every_method_takes_plain_comparisons_and_margins(name: str) -> None:
    """Margins are there for whom wants them; only the reward model takes rankings."""
    plain = tiny.preferences(tiny.random_pairs(3))
    assert load(name)().refuses(plain, 2) is None
    assert load(name)().refuses(dataclasses.replace(plain, margins=torch.ones(3)), 2) is None
    assert (load(name)().refuses(plain, 4) is None) == load(name).rankings == (name == "reward")


def test_rankings_have_neither_margins_nor_confidences() -> None:
    plain = tiny.preferences(tiny.random_pairs(3))
    for column in ("margins", "confidences"):
        refusal = RewardModel().refuses(dataclasses.replace(plain, **{column: torch.ones(3)}), 4)
        assert "a row ranks 4 responses, but margins and confidences only apply to pairs" in str(refusal)
    for algorithm in (DPO(margin_weight=0.5), RewardModel(margin_weight=1.0)):
        assert "margin_weight needs margins" in str(algorithm.refuses(plain, 2))
        assert algorithm.refuses(dataclasses.replace(plain, margins=torch.ones(3)), 2) is None


BOUNDS: dict[str, tuple[tuple[float, ...], tuple[float, ...], str]] = {
    "beta": ((1e-9, 5.0), (0.0, -1.0, math.nan, math.inf), "be above 0, not {}: it scales the implicit reward"),
    "nll_weight": ((0.0, 5.0), (-1e-9, math.nan, math.inf), "be at least 0, not {}"),
    "label_smoothing": ((0.001, 0.499), (-0.1, 0.5, math.nan), "0.5), not {}: at ½ labels carry no information"),
}


@pytest.mark.parametrize("option", BOUNDS)
def test_the_options_that_methods_share_have_the_same_range_in_all(option: str) -> None:
    good, bad, sentence = BOUNDS[option]
    """Of the methods that learn from comparisons: beta is another thing in policy gradients."""
    methods: list[Any] = [load(name) for name in LANGUAGE]
    methods = [cls for cls in methods if cls.data != "prompts" or issubclass(cls, OnlineDPO)]
    methods = [cls for cls in methods if option in {field.name for field in dataclasses.fields(cls)}]
    assert len(methods) >= 4
    for cls in methods:
        for value in good:
            assert getattr(cls(**{option: value}), option) == value
        for value in bad:
            with pytest.raises(ValueError, match=f"^{option} must ") as refused:
                cls(**{option: value})
            assert str(refused.value).endswith(sentence.format(value))


def test_only_a_smoothing_that_would_be_infinite_at_0_excludes_it() -> None:
    assert DPO(label_smoothing=0.0).label_smoothing == 0
    with pytest.raises(ValueError, match=r"label_smoothing must lie in \(0, 0\.5\), not 0"):
        EXO(label_smoothing=0.0)
