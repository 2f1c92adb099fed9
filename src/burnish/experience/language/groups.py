"""Several completions per prompt, sampled with the current policy and scored: what pairs and bests are made of."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from burnish.batches import Demonstrations
from burnish.experience.interface import Source
from burnish.experience.language.sampling import Sampling, Scored, rollout_rows
from burnish.functional import masked_sum
from burnish.options import option


@dataclass(frozen=True)
class Groups(Sampling):
    """The options of every experience that compares several completions of one prompt."""

    completions_per_prompt: int = option(
        2, "completions sampled per prompt", ge=2, why="a single one has nothing to be compared with"
    )

    def uses_reference(self, source: Source) -> bool:
        """Whether the reference's log-probabilities are wanted."""
        return "reference" in self.needs

    def which(self, source: Source, number: int) -> list[int]:
        """The prompts of a rollout, each as often as it is completed."""
        return [i for i in super().which(source, number) for _ in range(self.completions_per_prompt)]

    def group(self, source: Source, number: int) -> "ScoredGroups":
        """The groups of one rollout, each completion from a random stream of its own."""
        found = self.complete(source, self.which(source, number), number)
        return grouped(source, found, self.completions_per_prompt, self.uses_reference(source))

    def evaluate(self, source: Source, count: int) -> dict[str, float]:
        """Metrics of one completion per held-out prompt; the loss is the negative mean of the scores that count."""
        which = rollout_rows(source.prompts.plan, count, source.seed, 0)
        group = grouped(source, self.complete(source, which, 0), 1, self.uses_reference(source))
        return {"loss": -group.counted.mean().item()} | metrics(group)


@dataclass(frozen=True)
class ScoredGroups:
    """G scored completions for each of N prompts; row i·G + k of the batch is the k-th completion of prompt i.

    `scores` are the reward's own, `counted` those less the penalty for a missing end, which decide. `old_logprobs` are
    the policy's own. `kl` is one sample of the sequence KL, Σ_t log π(y_t) − log π_ref(y_t), None without a reference;
    `entropy` one of the entropy.
    """

    found: Scored
    scores: Float[Tensor, "N G"]
    counted: Float[Tensor, "N G"]
    old_logprobs: Float[Tensor, "NG T"]
    entropy: Float[Tensor, "N G"]
    kl: Float[Tensor, "N G"] | None = None
    ref_logprobs: Float[Tensor, "NG T"] | None = None

    @property
    def batch(self) -> Demonstrations:
        """All completions, as the exact ids that were sampled."""
        return self.found.completed.batch

    def flat(self, places: Int[Tensor, "*n"]) -> Int[Tensor, "*n"]:
        """The batch's rows at `places` within the groups; the first dimension is that of the prompts."""
        first = torch.arange(len(places), device=places.device) * self.scores.shape[1]
        return places + (first if places.dim() == 1 else first[:, None])

    def rows(self, index: Int[Tensor, "*n"]) -> Int[Tensor, "*n"]:
        """The data set's rows of these rows of the batch."""
        return torch.tensor(self.found.completed.rows, device=index.device)[index]


@torch.no_grad()
def grouped(source: Source, found: Scored, count: int, with_reference: bool, again: bool = False) -> ScoredGroups:
    """Scored completions in groups of `count`, with the reference's log-probabilities where they are wanted; `again`
    computes the policy's own even where the sampler's are exact."""
    batch = found.completed.batch
    old_logprobs = found.old_logprobs(source, again)
    ref_logprobs = source.logprobs(source.models.reference, batch) if with_reference else None
    kl = None if ref_logprobs is None else masked_sum(old_logprobs - ref_logprobs, batch.mask, dim=-1).view(-1, count)
    return ScoredGroups(
        found,
        found.scores.view(-1, count),
        found.counted.view(-1, count),
        old_logprobs,
        masked_sum(-old_logprobs, batch.mask, dim=-1).view(-1, count),
        kl,
        ref_logprobs,
    )


def metrics(group: ScoredGroups) -> dict[str, float]:
    """Means over all completions, under TRL's names; the length is in tokens."""
    ended = group.found.completed.ended
    kl = {} if group.kl is None else {"objective/kl": group.kl.mean().item()}
    return (
        kl
        | group.found.metrics
        | {
            "objective/entropy": group.entropy.mean().item(),
            "objective/scores": group.scores.mean().item(),
            "objective/scores_std": group.scores.std(correction=0).item(),
            "objective/length": group.batch.mask.sum(-1).double().mean().item(),
            "val/contain_eos_token": sum(ended) / len(ended),
        }
    )


def sample_record(group: ScoredGroups, place: int, row: int) -> dict[str, Any]:
    """One completion for samples.jsonl: the `place`-th of the `row`-th prompt."""
    index = row * group.scores.shape[1] + place
    completed = group.found.completed
    line: dict[str, Any] = {"response": completed.responses[index], "score": group.scores[row, place].item()}
    line |= {} if group.kl is None else {"kl": round(group.kl[row, place].item(), 6)}
    line |= {} if completed.turns is None else {"turns": completed.turns[index]}
    return line | {"ended": completed.ended[index]}


def prompt_record(group: ScoredGroups, row: int) -> dict[str, Any]:
    """The `row`-th prompt for samples.jsonl."""
    first = row * group.scores.shape[1]
    return {"row": group.found.completed.rows[first], "prompt": group.found.completed.prompts[first]}


def best(counted: Float[Tensor, "N G"]) -> Int[Tensor, "N"]:
    """The place of each prompt's best completion, the first of equals."""
    return counted.argmax(-1)


def worst(counted: Float[Tensor, "N G"]) -> Int[Tensor, "N"]:
    """The place of each prompt's worst completion, the first of equals."""
    return counted.argmin(-1)
