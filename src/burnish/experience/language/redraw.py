"""Dynamic sampling: groups of equal scores teach nothing, so others are drawn in their place."""

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad

from burnish.batches import Demonstrations
from burnish.experience.language.sampling import Scored
from burnish.policies.interface import Sampled


def equal(scores: Float[Tensor, "N G"]) -> Bool[Tensor, "N"]:
    """The groups whose scores are all equal."""
    return (scores == scores[:, :1]).all(-1)


def with_signal(
    ask: Callable[[int, int], Scored], prompts: int, size: int, redraws: int
) -> tuple[Scored, dict[str, float]]:
    """Groups of `size` for so many prompts, and metrics of how they were found.

    `ask(k, n)` draws groups for n prompts, after those of k prompts that this rollout has drawn before.
    Groups of equal scores are dropped and as many are drawn again, at most `redraws` times; those of the last draw stay
    whatever their scores, so that a rollout has always the same number of groups.
    """
    kept: list[Scored] = []
    news: list[tuple[int, dict[str, float]]] = []
    missing, total, drawn, tries = prompts, 0.0, 0, 0
    while missing:
        found = ask(drawn, missing)
        drawn, total = drawn + missing, total + found.scores.sum().item()
        news.append((missing, found.metrics))
        useful = ~equal(found.counted.view(-1, size))
        if tries == redraws:
            useful = torch.ones_like(useful)
        kept.append(of_groups(found, useful, size))
        missing, tries = int((~useful).sum()), tries + 1
    return replace(joined(kept), metrics=mean_metrics(news)), {
        "objective/groups_drawn": float(drawn),
        "objective/groups_dropped": float(drawn - prompts),
        "objective/draws": float(tries),
        "objective/scores_drawn": total / (drawn * size),
    }


def of_groups(found: Scored, wanted: Bool[Tensor, "N"], size: int) -> Scored:
    """The completions of these groups."""
    index = wanted.repeat_interleave(size).nonzero()[:, 0]
    places, sampled = index.tolist(), found.sampled
    return Scored(
        replace(found.completed.select(places), batch=found.completed.batch.select(index)),
        replace(
            sampled,
            tokens=[sampled.tokens[i] for i in places],
            logprobs=[sampled.logprobs[i] for i in places],
            ended=[sampled.ended[i] for i in places],
        ),
        found.scores[index],
        found.counted[index],
        None if found.earned is None else found.earned[index],
        found.metrics,
    )


def joined(parts: list[Scored]) -> Scored:
    """The completions of all parts, one behind the other; rows are padded to the longest."""
    if len(parts) == 1:
        return parts[0]
    batches, every = [part.completed.batch for part in parts], [part.completed for part in parts]
    width = max(batch.tokens.shape[1] for batch in batches)
    wide = [(width - batch.tokens.shape[1], batch) for batch in batches]
    batch = Demonstrations(
        torch.cat([pad(one.tokens, (0, more)) for more, one in wide]),
        torch.cat([pad(one.mask, (0, more)) for more, one in wide]),
        torch.cat([one.lengths for one in batches]),
        torch.cat([one.rows for one in batches]),
    )
    lists = ("prompts", "responses", "texts", "rows", "ended") + (() if every[0].turns is None else ("turns",))
    completed = replace(
        every[0],
        batch=batch,
        columns={name: [v for one in every for v in one.columns[name]] for name in every[0].columns},
        **{name: [value for one in every for value in getattr(one, name)] for name in lists},
    )
    sampled = Sampled(
        [ids for part in parts for ids in part.sampled.tokens],
        [values for part in parts for values in part.sampled.logprobs],
        [ended for part in parts for ended in part.sampled.ended],
        parts[0].sampled.version,
    )
    earned = [pad(part.earned, (0, width - part.earned.shape[1])) for part in parts if part.earned is not None]
    return Scored(
        completed,
        sampled,
        torch.cat([part.scores for part in parts]),
        torch.cat([part.counted for part in parts]),
        torch.cat(earned) if earned else None,
    )


def mean_metrics(parts: list[tuple[int, dict[str, float]]]) -> dict[str, float]:
    """The means of metrics over all draws, of which each has a number of prompts."""
    total = sum(count for count, _ in parts)
    return {name: sum(count * found[name] for count, found in parts) / total for name in parts[0][1]}
