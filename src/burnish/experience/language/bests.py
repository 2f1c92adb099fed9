"""Demonstrations that a policy makes itself: of several completions of a prompt the one with the highest score."""

from dataclasses import dataclass

from burnish.batches import Demonstrations, Drawn
from burnish.experience.interface import Source
from burnish.experience.language.groups import Groups, ScoredGroups, best, metrics, prompt_record, sample_record
from burnish.options import option


@dataclass(frozen=True)
class Bests(Groups):
    """Several completions per prompt; the policy imitates the one that a reward scores highest.

    Touvron et al. (2023), "Llama 2: Open Foundation and Fine-Tuned Chat Models", section 3.2.3.
    """

    completions_per_prompt: int = option(
        8,
        "completions sampled per prompt; the best is imitated",
        ge=2,
        why="a single one has nothing to be compared with",
        most=10_000,
    )
    rollout: int = option(512, "prompts to complete before the policy learns from them: a round", ge=1)

    def draw(self, source: Source, number: int, carried: dict[str, float]) -> Drawn:
        """The best completion of each prompt. Raises RolloutError where the reward fails."""
        return picked(self.group(source, number), self.keep_samples, number)


def picked(group: ScoredGroups, keep: int, number: int) -> Drawn:
    """The best completion of every prompt, as the exact ids that were sampled: one that was cut at the length limit
    gets no end that it never had."""
    places = best(group.counted)
    index, batch = group.flat(places), group.batch
    found = Demonstrations(batch.tokens[index], batch.mask[index], batch.lengths[index], group.rows(index))
    chosen = group.scores.gather(1, places[:, None])
    more = {"objective/best_scores": chosen.mean().item(), "rollout": number + 1}
    lines = [
        prompt_record(group, i) | sample_record(group, place, i) | {"mean_score": group.scores[i].mean().item()}
        for i, place in enumerate(places[:keep].tolist())
    ]
    return Drawn(found, metrics(group) | more, lines)
