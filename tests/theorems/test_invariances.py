"""What must change neither a loss nor its gradient: padding, order, cuts, company, and whatever lies at masked places.

A small actor-critic update and a DPO loss, from raw batches to one number, through the functional layer alone.
"""

import pytest
import torch
from torch import Tensor

import burnish.functional as fn

from .bandits import close, numbers

Batch = dict[str, Tensor]
JUNK = (float("nan"), float("inf"), 1e30)


def episodes(*lead: int, seed: int = 0) -> Batch:
    lengths = torch.tensor([6, 4, 3, 1])
    steps = torch.arange(6)
    mask = (steps < lengths[:, None]).expand(*lead, 4, 6)
    ended = torch.tensor([True, False, True, False])[:, None] & (steps == lengths[:, None] - 1)
    names = ("rewards", "old_logprobs", "ref_logprobs")
    batch = {name: numbers(*lead, 4, 6, seed=seed + i) for i, name in enumerate(names)}
    return batch | {
        "mask": mask,
        "discounts": torch.where(ended, 0.0, 0.9).double().expand(*lead, 4, 6),
        "values": numbers(*lead, 4, 7, seed=seed + 5),
        "logits": numbers(*lead, 4, 6, 3, seed=seed + 6),
        "actions": torch.arange(24).reshape(4, 6).expand(*lead, 4, 6) % 3,
        "scores": numbers(*lead, 4, seed=seed + 7),
    }


def prepared(batch: Batch) -> Batch:
    """Shaped rewards, advantages and returns: all that depends on the whole batch. Masked places become 0."""
    mask, old_logprobs = batch["mask"], batch["old_logprobs"]
    shaped = fn.kl_shaped_rewards(batch["scores"], old_logprobs, batch["ref_logprobs"], mask, 0.1)
    rewards = shaped + torch.where(mask, batch["rewards"], 0.0)
    advantages = fn.gae(rewards, batch["values"], batch["discounts"], mask, 0.8)
    returns = advantages + torch.where(mask, batch["values"][..., :-1], 0.0)
    return batch | {
        "advantages": fn.standardise(advantages, mask),
        "returns": returns,
        "old_logprobs": torch.where(mask, old_logprobs, 0.0),
    }


def losses(part: Batch) -> Tensor:
    logprobs = fn.action_logprobs(part["logits"], part["actions"])
    policy = fn.clipped_surrogate(logprobs, part["old_logprobs"], part["advantages"])
    return policy + 0.5 * fn.value_loss(part["current_values"], part["returns"]) - 0.01 * fn.entropy(part["logits"])


def loss_and_gradients(batch: Batch, over: str = "token", cuts: tuple[int, ...] = ()) -> tuple[Tensor, Tensor, Tensor]:
    """The loss [...] of a batch, in parts cut at these rows, and its gradients in logits and values."""
    batch = prepared(batch) | {"current_values": batch["values"][..., :-1].clone().requires_grad_()}
    batch["logits"] = batch["logits"].clone().requires_grad_()
    rows = batch["mask"].shape[-2]
    total = {"token": batch["mask"].sum((-2, -1)), "sequence": batch["mask"].any(-1).sum(-1), "constant": 24}[over]
    loss = torch.zeros((), dtype=torch.float64)
    row_dimension = batch["mask"].dim() - 2
    for start, stop in zip((0, *cuts), (*cuts, rows), strict=True):
        part = {name: x.narrow(row_dimension, start, stop - start) for name, x in batch.items()}
        loss = loss + fn.aggregate(losses(part), part["mask"], over, total)
    return loss.detach(), *torch.autograd.grad(loss.sum(), [batch["logits"], batch["current_values"]])


OVER = pytest.mark.parametrize("over", ["token", "sequence", "constant"])


@OVER
@pytest.mark.parametrize("cuts", [(2,), (1, 3), (1, 2, 3)])
def test_cut_into_minibatches(over: str, cuts: tuple[int, ...]) -> None:
    batch = episodes()
    for whole, parts in zip(loss_and_gradients(batch, over), loss_and_gradients(batch, over, cuts), strict=True):
        close(parts, whole)


@OVER
@pytest.mark.parametrize("junk", JUNK)
def test_junk_at_masked_places(over: str, junk: float) -> None:
    """In everything that comes with a batch. What the policy itself computes, logits and values, is finite anywhere."""
    batch = episodes()
    dirty = dict(batch)
    for name in ("rewards", "old_logprobs", "ref_logprobs", "discounts"):
        dirty[name] = torch.where(batch["mask"], batch[name], junk)
    for clean, other in zip(loss_and_gradients(batch, over), loss_and_gradients(dirty, over), strict=True):
        assert torch.equal(clean, other)


@OVER
@pytest.mark.parametrize("amount", [1, 5])
def test_amount_of_padding(over: str, amount: int) -> None:
    """More columns on the right, and rows without any step, filled with junk where a batch may have it."""
    batch = episodes()
    wider = {}
    for name, x in batch.items():
        fill = False if name == "mask" else (0 if name in ("actions", "logits", "values") else float("nan"))
        wide = x if x.dim() == 1 else torch.cat([x, x.new_full((4, amount, *x.shape[2:]), fill)], 1)
        wider[name] = torch.cat([wide, wide.new_full((2, *wide.shape[1:]), fill)])
    loss, of_logits, of_values = loss_and_gradients(batch, over)
    padded_loss, padded_of_logits, padded_of_values = loss_and_gradients(wider, over)
    close(padded_loss, loss)
    close(padded_of_logits[:4, :6], of_logits)
    close(padded_of_values[:4, :6], of_values)
    assert (padded_of_logits[~wider["mask"]] == 0).all()


@OVER
def test_order_of_rows(over: str) -> None:
    batch, order = episodes(), torch.tensor([2, 0, 3, 1])
    loss, *slopes = loss_and_gradients(batch, over)
    shuffled_loss, *shuffled = loss_and_gradients({name: x[order] for name, x in batch.items()}, over)
    close(shuffled_loss, loss)
    for one, other in zip(slopes, shuffled, strict=True):
        close(other, one[order])


@OVER
def test_runs_together_or_alone(over: str) -> None:
    """Run i of a group has the loss and the gradients of the same run alone, one run's junk notwithstanding."""
    group = episodes(3)
    group["rewards"] = group["rewards"] * torch.tensor([1.0, 100.0, 0.0]).double()[:, None, None]
    loss, *slopes = loss_and_gradients(group, over)
    assert loss.shape == (3,)
    for run in range(3):
        alone, *alone_slopes = loss_and_gradients({name: x[run] for name, x in group.items()}, over)
        close(loss[run], alone)
        for one, other in zip(slopes, alone_slopes, strict=True):
            close(one[run], other)


def test_a_broken_run_breaks_no_other() -> None:
    group, broken = episodes(3), episodes(3)
    broken["rewards"] = broken["rewards"].clone()
    broken["rewards"][1, 0, 0] = float("nan")
    for clean, other in zip(loss_and_gradients(group), loss_and_gradients(broken), strict=True):
        assert other[1].isnan().any()
        for run in (0, 2):
            assert torch.equal(clean[run], other[run])


@pytest.mark.parametrize("junk", JUNK)
def test_dpo_of_padded_responses(junk: float) -> None:
    """Summed over real tokens, padding of any kind has no part in a pair's loss or in its gradient."""
    mask = torch.arange(5) < torch.tensor([[5, 3], [1, 4], [2, 2]])[..., None]
    logprobs, ref_logprobs = numbers(3, 2, 5), numbers(3, 2, 5, seed=1)

    def dpo(fill: float) -> tuple[Tensor, Tensor]:
        leaf = torch.where(mask, logprobs, fill).requires_grad_()
        ratios = fn.masked_sum(fn.k1(leaf, torch.where(mask, ref_logprobs, fill)), mask, -1)
        loss = fn.aggregate(fn.dpo(ratios[:, 0], ratios[:, 1], 0.1), torch.tensor([True] * 3), over="row")
        return loss.detach(), torch.autograd.grad(loss, leaf)[0]

    for clean, dirty in zip(dpo(0.0), dpo(junk), strict=True):
        assert torch.equal(clean, dirty)
