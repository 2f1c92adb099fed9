"""One preparation, one gradient, or one evaluation: the only place where losses are averaged."""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import chain, pairwise
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from burnish.algorithms.interface import Algorithm, Statistics
from burnish.algorithms.terms import Loss, Term
from burnish.batches import Episodes, Transitions
from burnish.functional import aggregate
from burnish.policies.interface import Models, Regularised
from burnish.run.shards import is_divided
from burnish.run.world import ALONE, World

GRADIENT_NORM = "grad_norm"

Share = tuple[Any, bool]
"""Rows of a batch that a process computes with, and whether they count, see `World.own_rows`."""


class NonFiniteLossError(Exception):
    """A loss or gradient is NaN or infinite. `rows` are the data set's rows at fault, where single rows are."""

    def __init__(self, what: str, rows: list[int]) -> None:
        super().__init__(what)
        self.what, self.rows = what, rows


@torch.no_grad()
def prepared(
    algorithm: Algorithm, models: Models, parts: Sequence[Any], carried: dict[str, Any], world: World = ALONE
) -> list[Any]:
    """The parts of a batch, prepared with the statistics of all of them.

    Two phases: sums over the parts first, then each part with the total. `carried` is what the algorithm's `conclude`
    returned after the last rollout. Each process of the `world` prepares its share of the rows; all get all.
    """
    shared = [world.own_rows(part, models.together) for part in parts]
    mine = [(valued(models, own), counts) for own, counts in shared]
    total = statistics_of(algorithm, models, [one for one in mine if len(one[0])], world) | carried

    def whole(part: Any, own: Any, counts: bool) -> Any:
        ready = algorithm.prepare(models, own, total) if len(own) else own
        found = [one for one in world.gather(ready if counts and ready is not own else None) if one is not None]
        return found[0].joined(found[1:]) if len(found) > 1 else found[0] if found else part

    return [whole(part, *share) for part, share in zip(parts, mine, strict=True)]


def valued(models: Models, part: Any) -> Any:
    """The part with its critic's values, which both phases of the preparation ask for."""
    if not (isinstance(part, Episodes | Transitions) and len(part) and "critic" in models):
        return part
    return replace(part, values=models.critic.values(part))


def statistics_of(algorithm: Algorithm, models: Models, own: Sequence[Share], world: World) -> Statistics:
    """The statistics of all rows, from those of this process."""
    found = [(algorithm.statistics(models, part), counts) for part, counts in own]
    return world.sum(added([one for one, counts in found if counts]))


def shares(parts: Sequence[Any], models: Models, world: World) -> list[Share]:
    """This process's rows of each part, see `World.own_rows`; parts of which it has none are left out."""
    every = (world.own_rows(part, models.together) for part in parts)
    return [(own, counts) for own, counts in every if len(own)]


def added(parts: Sequence[dict[str, Any]]) -> Statistics:
    """Sums of the parts' statistics or counts, by name."""
    total = dict(parts[0]) if parts else {}
    for part in parts[1:]:
        total = {name: value + part[name] for name, value in total.items()}
    return total


def microbatches(batch: Any, pieces: int) -> Iterator[Any]:
    """The batch's rows in `pieces` parts, long rows together, so that less is padding."""
    if not len(batch):
        return
    longest = batch.lengths.flatten(1).amax(1) if batch.lengths.dim() > 1 else batch.lengths
    for index in torch.argsort(longest, stable=True).tensor_split(min(pieces, len(batch))):
        yield batch.select(index)


def objective(loss: Loss, denominators: dict[str, Tensor]) -> Tensor:
    """The weighted sum of a loss's terms, each divided by its denominator: a part's share of the batch's loss, or of
    each run's where there are runs."""
    return torch.stack([term.weight * _share(term, denominators) for term in loss.terms.values()]).sum(0)


def _share(term: Term, denominators: dict[str, Tensor]) -> Tensor:
    return aggregate(term.losses, term.mask, over=term.over, total=denominators[term.total or term.over])


def metric_shares(loss: Loss, batch: Any, denominators: dict[str, Tensor]) -> dict[str, Tensor]:
    """A part's share of the metrics: sums over its rows or tokens, divided by the counts of the whole batch.

    A metric over something that the whole batch has none of, such as desirable rows, has no mean and is left out.
    """
    places = {batch.mask.dim(): (batch.mask, "token"), 1: (batch.counted(), "row")}
    shares = {}
    for name, values in loss.metrics.items():
        term = values if isinstance(values, Term) else Term(values, *places[values.dim()])
        if denominators[term.total or term.over] > 0:
            shares[name] = _share(replace(term, losses=term.losses.double()), denominators)
    if len(loss.terms) > 1:
        shares |= {f"loss/{name}": _share(term, denominators).detach() for name, term in loss.terms.items()}
    return shares


def gradient(
    algorithm: Algorithm,
    models: Models,
    batch: Any,
    pieces: int = 1,
    world: World = ALONE,
    norm: Callable[[], Tensor] | None = None,
    watched: Collection[str] | None = None,
) -> dict[str, Any]:
    """Add the gradient of the prepared batch's loss to the parameters' `.grad`, piece by piece; return metrics.

    Each process of the `world` computes its share of the rows, in its share of the pieces; all get the sums, the same
    bits. `norm()`, of the whole gradient, becomes the metric "grad_norm". All metrics leave the device as numbers, in
    one transfer. Where a process is alone and only some are `watched`, these, the loss and the norm do, and the others
    stay behind as float64 tensors. Raises NonFiniteLossError, and leaves no gradient, where the loss is not finite.
    """
    sums, faults = backwards(algorithm, models, batch, pieces, world)
    trained = [one for model in models.trained().values() for one in model.parameters().values()]
    world.sum_gradients([one for one in trained if not is_divided(one)])  # those of others are summed backwards
    alone = world.size == 1  # others need the sums, which are made of numbers: with the loss they cost no more
    now = {name: x for name, x in sums.items() if not alone or watched is None or name == "loss" or name in watched}
    measured = {} if norm is None else {GRADIENT_NORM: norm()}
    numbers = numbers_of(now | measured)
    whole = {name: numbers.pop(name) for name in measured}
    found: dict[str, Any] = {**(sums if alone else {}), **world.sum(numbers), **whole}
    if not math.isfinite(found["loss"]):
        for parameter in trained:
            parameter.grad = None
        bad = [row for rows, there in faults for row in rows[there].tolist()]
        raise NonFiniteLossError(f"the loss is {found['loss']}", sorted(chain.from_iterable(world.gather(bad))))
    return found


def backwards(
    algorithm: Algorithm, models: Models, batch: Any, pieces: int, world: World
) -> tuple[dict[str, Tensor], list[tuple[Tensor, Tensor]]]:
    """Add this process's part of the gradient to the parameters' `.grad`. Returns its part of the metrics, and rows
    with whether their loss is not finite.

    The models' own losses are added to the method's. Each is a mean over the tokens of a piece and counts as much as
    the piece has tokens. Nothing here waits for the device between the first piece and the last; models do, where a
    language model's rows are laid out and where their numbers are looked through for NaN.
    """
    denominators, tokens = on_host(batch.counts()), batch.lengths.sum()
    sums: dict[str, Tensor] = {}
    faults: list[tuple[Tensor, Tensor]] = []
    # A weight's cast is kept until the outermost autocast ends: so each is cast once, for all passes and heads inside.
    with torch.autocast(batch.mask.device.type, enabled=False):
        for part, counted in rounds(batch, -(-pieces // world.size), world, models.divided or models.together):
            with own_losses(models) as own:
                loss = algorithm.loss(models, part)
            value = objective(loss, denominators)
            if not counted:
                (0 * value).backward()
                continue
            for name, (weight, mean) in own.items():
                share = mean * (part.lengths.sum() / tokens)
                value = value + weight * share
                _add(sums, {name: share})
            if value.requires_grad:  # a part in which nothing counts has no gradient
                value.backward()
            faults.append((part.rows, faulty(loss, part)))
            _add(sums, {"loss": value} | metric_shares(loss, part, denominators))
    return sums, faults


def rounds(batch: Any, pieces: int, world: World, together: bool) -> Iterator[tuple[Any, bool]]:
    """This process's share of the rows, contiguous and of about as many tokens as the others', in `pieces` parts, and
    whether a part counts.

    Where the processes have to compute `together`, one with fewer parts than another has its first row once more for
    each, which does not count.
    """
    if world.size == 1:
        yield from ((part, True) for part in microbatches(batch, pieces))
        return
    divided = cuts(sizes_of(batch), world.size)
    share = batch.select(divided[world.rank])
    yield from ((part, True) for part in microbatches(share, pieces))
    if together:
        most = min(pieces, max(rows.stop - rows.start for rows in divided))
        yield from [(batch.select(slice(0, 1)), False)] * (most - min(pieces, len(share)))


def sizes_of(batch: Any) -> Tensor:
    """How many tokens each row has."""
    lengths: Tensor = batch.lengths
    return lengths.flatten(1).sum(1) if lengths.dim() > 1 else lengths


def tokens_of(batch: Any, world: World) -> tuple[int, int]:
    """The tokens of a batch, and of those the ones that this process computes a gradient from."""
    sizes = sizes_of(batch)
    every = int(sizes.sum())
    return every, every if world.size == 1 else int(sizes[cuts(sizes, world.size)[world.rank]].sum())


def cuts(sizes: Tensor, parts: int) -> list[slice]:
    """Contiguous rows for each of the `parts`, with sizes that sum to about the same: a row is where its middle is."""
    ends = sizes.double().cumsum(0)
    bounds = sizes.sum() * torch.arange(1, parts, dtype=torch.float64, device=sizes.device) / parts
    edges = torch.searchsorted(ends - sizes / 2, bounds).tolist()
    return [slice(first, last) for first, last in pairwise([0, *edges, len(sizes)])]


def on_host(numbers: dict[str, Tensor]) -> dict[str, Tensor]:
    """0-d tensors of any device as float64 on the CPU, in one transfer."""
    return dict(zip(numbers, stacked(numbers).cpu(), strict=True)) if numbers else {}


def numbers_of(sums: dict[str, Tensor]) -> dict[str, float]:
    """0-d tensors of any device as numbers, in one transfer."""
    return dict(zip(sums, stacked(sums).tolist(), strict=True)) if sums else {}


def stacked(numbers: dict[str, Tensor]) -> Tensor:
    """0-d tensors as one in float64, on the first one's device."""
    first, *others = numbers.values()
    return torch.stack([first.double(), *(one.to(first.device, torch.float64) for one in others)])


@contextmanager
def own_losses(models: Models) -> Iterator[dict[str, tuple[float, Tensor]]]:
    """The own losses of the trained models in what is computed inside, by name, filled in at the end."""
    found: dict[str, tuple[float, Tensor]] = {}
    with ExitStack() as stack:
        each = [stack.enter_context(m.own_losses()) for m in models.trained().values() if isinstance(m, Regularised)]
        yield found
    for one in each:
        found |= one


@torch.no_grad()
def evaluate(algorithm: Algorithm, models: Models, batches: list[Any], world: World = ALONE) -> dict[str, float]:
    """Loss and metrics over all batches as if they were one."""
    own = [(valued(models, part), counts) for part, counts in shares(batches, models, world)]
    total = statistics_of(algorithm, models, own, world)
    ready = [(algorithm.prepare(models, part, total), counts) for part, counts in own]
    return means(algorithm, models, ready, world)


@torch.no_grad()
def mean_metrics(algorithm: Algorithm, models: Models, parts: list[Any], world: World = ALONE) -> dict[str, float]:
    """Loss and metrics over all prepared parts as if they were one batch."""
    return means(algorithm, models, shares(parts, models, world), world)


def means(algorithm: Algorithm, models: Models, own: list[Share], world: World) -> dict[str, float]:
    """`mean_metrics` of all processes' parts, of which this one has its `own`."""
    denominators = on_host(world.sum(added([part.counts() for part, counts in own if counts])))
    sums: dict[str, Tensor] = {}
    for part, counts in own:
        loss = algorithm.loss(models, part)
        if not counts:
            continue
        _add(sums, {"loss": objective(loss, denominators)} | metric_shares(loss, part, denominators))
    return world.sum(numbers_of(sums))


def _add(sums: dict[str, Tensor], shares: dict[str, Tensor]) -> None:
    for name, share in shares.items():
        share = share.detach().double()
        sums[name] = sums[name] + share if name in sums else share


def faulty(loss: Loss, batch: Any) -> Bool[Tensor, "B"]:
    """The rows in which a real place of some term is not finite."""
    bad = torch.zeros(len(batch), dtype=torch.bool, device=batch.mask.device)
    for term in loss.terms.values():
        broken = term.mask & ~torch.isfinite(term.losses)
        bad |= broken.flatten(1).any(1) if broken.dim() > 1 else broken
    return bad
