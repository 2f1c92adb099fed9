"""What the methods of groups share: every option changes the gradient, and what makes no sense is refused."""

import dataclasses
from typing import Any

import pytest
import torch
from grouped import World, world
from phases import ready
from torch import Tensor

from burnish.algorithms.group import GroupGradient
from burnish.algorithms.table import load
from burnish.batches import GroupEpisodes
from burnish.training.step import gradient, prepared

INDEX = torch.tensor([[0, 3, 7, 11], [2, 2, 9, 14], [5, 1, 13, 4]])
MANY = torch.randint(15, (12, 4), generator=torch.Generator().manual_seed(0))
METHODS = ("grpo", "rloo", "gspo", "cispo", "reinforce_plus_plus")
COMMON: dict[str, Any] = {"over": "token", "beta": 0.5, "kl_in": "score", "kl_estimator": "k2", "entropy_weight": 0.1}
GROUP: dict[str, Any] = COMMON | {"advantage": "leave_one_out", "std_correction": 0, "std_eps": 0.1}
CLIPS: dict[str, Any] = {"clip_low": 0.01, "clip_high": 0.01}
OWN: dict[str, dict[str, Any]] = {
    "grpo": GROUP | CLIPS | {"dual_clip": 1.05},
    "rloo": COMMON | CLIPS | {"ratio": "token", "kl_in": "loss", "dual_clip": 1.05},
    "gspo": GROUP | {"clip_low": 0.5, "clip_high": 0.5},
    "cispo": GROUP | CLIPS | {"over": "sequence"},
    "reinforce_plus_plus": COMMON | CLIPS | {"group_mean": True, "dual_clip": 1.05, "over": "sum"},
}
BESIDE: dict[tuple[str, str], dict[str, Any]] = {
    ("rloo", "kl_estimator"): {"kl_in": "loss"},
    ("reinforce_plus_plus", "kl_estimator"): {"kl_in": "loss"},
} | {("rloo", key): {"ratio": "token"} for key in (*CLIPS, "dual_clip")}
BESIDE |= {(name, key): {"beta": 0.3} for name in ("gspo", "cispo") for key in ("kl_in", "kl_estimator")}


def slope(algorithm: GroupGradient, found: World, batch: GroupEpisodes | None = None) -> Tensor:
    found.policy.logits.grad = None
    batch = found.episodes(INDEX) if batch is None else batch
    gradient(algorithm, found.models, ready(algorithm, found.models, batch))
    assert found.policy.logits.grad is not None
    return found.policy.logits.grad.clone()


@pytest.mark.parametrize("name", METHODS)
def test_every_option_changes_the_gradient(name: str) -> None:
    fields = {field.name for field in dataclasses.fields(load(name))}
    assert OWN[name].keys() | {"update_epochs"} == fields
    found = world(0.3)
    for key, value in OWN[name].items():
        beside = BESIDE.get((name, key), {})
        before, after = load(name)(**beside), load(name)(**beside | {key: value})
        one, other = (slope(algorithm, found, found.episodes(MANY)) for algorithm in (before, after))
        assert not torch.allclose(one, other, rtol=1e-6, atol=1e-9), key


@pytest.mark.parametrize("name", METHODS)
def test_without_a_price_there_is_no_reference(name: str) -> None:
    cls = load(name)
    assert cls(beta=0.1).needs == ("reference",)
    assert cls(beta=0.0).needs == ()
    found = world(0.3)
    batch = dataclasses.replace(found.episodes(INDEX), ref_logprobs=None, peers_kl=None)
    assert slope(cls(beta=0.0), found, batch).abs().max() > 0


@pytest.mark.parametrize("name", METHODS)
def test_weights_multiply_the_policys_losses_alone(name: str) -> None:
    """Weights of 0 leave the KL penalty, which is not of the sampler; weights of 2 double the rest."""
    cls, found = load(name), world(0.3)
    batch = found.episodes(INDEX)
    zero, two = (dataclasses.replace(batch, weights=torch.full(batch.mask.shape, x).double()) for x in (0.0, 2.0))
    priced, plain = cls(beta=0.3, kl_in="loss"), cls(beta=0.0)
    price = slope(priced, found) - slope(plain, found)
    torch.testing.assert_close(slope(priced, found, zero), price)
    torch.testing.assert_close(slope(plain, found, two), 2 * slope(plain, found))


@pytest.mark.parametrize("name", METHODS)
def test_masked_places_change_nothing(name: str) -> None:
    found, cls = world(0.3), load(name)
    batch, algorithm = found.episodes(INDEX), cls(beta=0.2)
    junk = {
        key: torch.where(batch.mask, getattr(batch, key), torch.nan)
        for key in ("old_logprobs", "sampler_logprobs", "ref_logprobs")
    }
    junk["weights"] = torch.where(batch.mask, 1.0, torch.nan).double()
    torch.testing.assert_close(slope(algorithm, found, dataclasses.replace(batch, **junk)), slope(algorithm, found))


@pytest.mark.parametrize("name", ["grpo", "rloo", "gspo", "cispo"])
def test_equal_scores_have_no_gradient(name: str) -> None:
    """Exactly, though the mean of four times 0.1 is not 0.1."""
    found = world(0.3)
    found = dataclasses.replace(found, scores=torch.full_like(found.scores, 0.1))
    assert (slope(load(name)(beta=0.0), found) == 0).all()


def test_parts_of_a_batch_are_prepared_with_the_whole_ones_statistics() -> None:
    """The advantages of REINFORCE++, of halves as of the whole."""
    found, algorithm = world(0.3), load("reinforce_plus_plus")()
    batch = found.episodes(INDEX)
    halves = [batch.select(torch.arange(5)), batch.select(torch.arange(5, 12))]
    whole = ready(algorithm, found.models, batch).advantages
    parts = [part.advantages for part in prepared(algorithm, found.models, halves, {})]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-12, atol=1e-12)
    values = whole[batch.mask]
    assert values.mean().item() == pytest.approx(0, abs=1e-12)
    assert values.square().mean().item() == pytest.approx(1, abs=1e-6)


def test_advantages_per_token_by_hand() -> None:
    """Scores 1 and 0 of two words each, log-ratios ½, ¼ and 0, −½; β = 2. A token's price is that of what follows."""
    mask = torch.tensor([[False, True, True], [False, True, True]])
    old = torch.tensor([[0.0, -1.0, -1.0], [0.0, -2.0, -1.0]], dtype=torch.float64)
    ref = old - torch.tensor([[0.0, 0.5, 0.25], [0.0, 0.0, -0.5]])
    batch = GroupEpisodes(
        tokens=mask.long(),
        mask=mask,
        lengths=torch.tensor([3, 3]),
        rows=torch.zeros(2, dtype=torch.long),
        sampler_logprobs=old,
        old_logprobs=old,
        ref_logprobs=ref,
        rewards=torch.zeros(2, 3).double(),
        discounts=torch.tensor([[0.0, 1, 0]] * 2).double(),
        limit=torch.tensor(2),
        peers=torch.tensor([[1.0, 0.0]] * 2).double(),
        place=torch.tensor([0, 1]),
        peers_kl=torch.tensor([[0.75, -0.5]] * 2).double(),
    )
    of = lambda name, **options: load(name)(beta=2.0, **options).advantages(batch).tolist()  # noqa: E731
    assert of("rloo", kl_in="loss") == [[0, 1, 1], [0, -1, -1]]
    assert of("rloo", kl_in="reward") == [[0, 1 - 1.5, 1 - 0.5], [0, -1 + 1, -1 + 1]]
    assert of("rloo") == [[0, -1.5, -1.5], [0, 1.5, 1.5]]  # 1 − 1.5 and 0 + 1
    assert of("reinforce_plus_plus") == [[0, -0.5, 0.5], [0, 1, 1]]
    assert of("reinforce_plus_plus", group_mean=True) == [[0, -1, 0], [0, 0.5, 0.5]]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("grpo", {"beta": 0.0, "kl_in": "reward"}, "only apply to a KL penalty"),
        ("gspo", {"kl_estimator": "k2"}, "only apply to a KL penalty"),
        (
            "grpo",
            {"kl_in": "reward", "kl_estimator": "k2"},
            "and this one is in the reward, where it is always",
        ),
        ("rloo", {"kl_estimator": "k3"}, "and this one is in the score"),
        ("grpo", {"kl_estimator": "k1"}, "k1 in the loss has a mean gradient of 0"),
        ("grpo", {"advantage": "centre", "std_correction": 0}, "std_correction only applies"),
        ("cispo", {"advantage": "leave_one_out", "std_eps": 0.1}, "std_eps only applies to a standardised advantage"),
        ("rloo", {"clip_low": 0.1}, "clip_low, clip_high and dual_clip only apply to a ratio"),
        ("rloo", {"dual_clip": 3.0}, "clip_low, clip_high and dual_clip only apply to a ratio"),
        ("rloo", {"ratio": "sequence", "over": "token"}, "a ratio per completion has one loss per completion"),
        ("rloo", {"update_epochs": 2}, "without a ratio a second pass would not know that the policy has moved"),
        ("rloo", {"ratio": "sequence", "kl_in": "reward"}, "a ratio per completion has one advantage per completion"),
        ("grpo", {"clip_low": 0.0}, "clip_low must be above 0, not 0.0: at 0 no update can improve anything"),
        ("grpo", {"dual_clip": 1.0}, "dual_clip must be above 1, not 1.0"),
        ("grpo", {"beta": -0.1}, "beta must be at least 0, not -0.1: it would reward leaving the reference"),
    ],
)
def test_options_that_make_no_sense_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(name)(**options)
