"""Groups as episodes: scores of the whole group in every row, penalties, dynamic sampling, and a foreign sampler."""

import dataclasses
from typing import Any

import pytest
import tiny
import torch
from loop_pieces import Foreign, source_of

from burnish.algorithms.grpo import GRPO
from burnish.batches import Drawn
from burnish.experience.interface import draws
from burnish.experience.language.group_completions import GroupCompletions, LooseCompletions, overlong
from burnish.experience.language.sampling import rollout_rows
from burnish.policies.interface import Models
from burnish.rewards.function import function_reward
from burnish.training.step import gradient, prepared

KNOBS = GroupCompletions(reward="a test", completions_per_prompt=3, rollout=4, max_new_tokens=6)


def counted(prompts: Any, responses: Any, **columns: Any) -> list[float]:
    """The number of a response's words."""
    return [float(len(response.split())) for response in responses]


def models(reference: bool = True) -> Models:
    pair = [tiny.make_policy("llama", seed=seed, double=False) for seed in (1, 2)]
    return Models(policy=pair[0], reference=pair[1]) if reference else Models(policy=pair[0])


def drawn_of(knobs: GroupCompletions = KNOBS, reward: Any = counted, number: int = 0, **changes: Any) -> Drawn:
    source = source_of(changes.pop("models", models()), 9, function_reward(reward))
    return knobs.draw(dataclasses.replace(source, **changes), number, {})


def test_a_row_carries_the_scores_of_its_group() -> None:
    """By loops, from the texts of samples.jsonl."""
    drawn = drawn_of(dataclasses.replace(KNOBS, keep_samples=4))
    batch, scores = drawn.batch, [line["score"] for line in drawn.samples]
    assert len(batch) == len(scores) == 12
    assert scores == counted(None, [line["response"] for line in drawn.samples])
    for row in range(12):
        first = row - row % 3
        assert batch.rows[row] == drawn.samples[row]["row"] == batch.rows[first]
        assert batch.peers[row].tolist() == scores[first : first + 3]
        assert batch.place[row] == row % 3
        assert batch.own(batch.peers)[row] == scores[row] == batch.rewards[row].sum()
        last = int(batch.mask[row].nonzero()[-1])
        assert batch.rewards[row, last] == scores[row]
        inside = int(batch.mask[row].sum()) - 1
        assert batch.discounts[row].sum() == inside
        assert batch.discounts[row, last] == 0
        kl = (batch.old_logprobs - batch.ref_logprobs)[row][batch.mask[row]].sum()
        assert batch.own(batch.peers_kl)[row].item() == pytest.approx(kl.item(), abs=1e-5)
    assert batch.limit == 6
    assert batch.weights is None
    spread = [torch.tensor(scores[i : i + 3]).std(correction=0).item() for i in range(0, 12, 3)]
    assert drawn.metrics["objective/group_std"] == pytest.approx(sum(spread) / 4)
    assert drawn.metrics["objective/frac_reward_zero_std"] == sum(s == 0 for s in spread) / 4
    assert drawn.metrics["objective/scores"] == pytest.approx(sum(scores) / 12)


def test_prompts_walk_as_with_every_other_experience() -> None:
    source = source_of(models(False), 9, function_reward(counted), seed=5)
    for number in (0, 2, 3):
        rows = KNOBS.draw(source, number, {}).batch.rows[::3].tolist()
        assert rows == rollout_rows(source.prompts.plan, 4, 5, number)


def test_without_a_reference_nothing_speaks_of_one() -> None:
    drawn = drawn_of(models=models(reference=False))
    assert (drawn.batch.ref_logprobs, drawn.batch.peers_kl) == (None, None)
    assert "objective/kl" not in drawn.metrics
    assert all("kl" not in line for line in drawn.samples)


def test_penalties_count_and_the_reward_is_shown() -> None:
    """¼ for no end, and up to ½ over the last three of six tokens: 1/6 of it per token from the fourth on."""
    fined = dataclasses.replace(
        KNOBS, missing_eos_penalty=0.25, overlong_share=0.5, overlong_penalty=0.5, keep_samples=4
    )
    drawn, plain = drawn_of(fined), drawn_of()
    for row, line in enumerate(drawn.samples):
        length = int(drawn.batch.mask[row].sum())
        fine = 0.25 * (not line["ended"]) + 0.5 * max(0, length - 3) / 3
        assert drawn.batch.own(drawn.batch.peers)[row].item() == pytest.approx(line["score"] - fine)
    assert drawn.metrics["objective/scores"] == plain.metrics["objective/scores"] > drawn.metrics["objective/penalised"]
    assert "objective/penalised" not in plain.metrics
    source = source_of(models(), 9, function_reward(counted))
    assert fined.evaluate(source, 6)["loss"] > KNOBS.evaluate(source, 6)["loss"]


def test_overlong_by_hand() -> None:
    """Yu et al. (2025), eq. 13, with a limit of 20 and a buffer of 4."""
    found = overlong(torch.tensor([1, 16, 17, 18, 20]), 20, 0.2)
    torch.testing.assert_close(found, torch.tensor([0, 0, 0.25, 0.5, 1]).double())


def rare(prompts: Any, responses: Any, number: list[int]) -> list[float]:
    """A score that only tells completions of every third prompt apart."""
    return [float(len(text.split())) if n % 3 == 0 else 1.0 for n, text in zip(number, responses, strict=True)]


def test_groups_of_equal_scores_are_drawn_again() -> None:
    knobs = dataclasses.replace(KNOBS, redraws=20, rollout=2)
    source = source_of(models(False), 9, function_reward(rare))
    found = [one for one, _ in zip(draws(knobs, source), range(3), strict=False)]
    for drawn in found:
        assert len(drawn.batch) == 6
        assert (drawn.batch.rows % 3 == 0).all()
        assert drawn.metrics["objective/frac_reward_zero_std"] == 0
        assert drawn.metrics["objective/groups_drawn"] == 2 + drawn.metrics["objective/groups_dropped"] > 2
    total = sum(drawn.metrics["objective/groups_drawn"] for drawn in found)
    assert found[-1].state["prompts"] == total
    again = next(draws(knobs, source, 2, found[1].state))  # as a resumed run draws it
    assert torch.equal(again.batch.tokens, found[2].batch.tokens)
    assert again.metrics == found[2].metrics


def test_no_two_completions_of_a_rollout_share_a_random_stream() -> None:
    """Drawn again behind the same prompt, a completion is another one."""
    seen: list[tuple[int, ...]] = []

    def noted(prompts: Any, responses: Any) -> list[float]:
        seen.extend(tuple(text.split()) for text in responses)
        return [1.0] * len(responses)

    knobs = dataclasses.replace(KNOBS, redraws=3, rollout=1, max_new_tokens=20)
    source = source_of(models(False), 1, function_reward(noted))
    knobs.draw(source, 0, {})
    assert len(seen) == 12
    assert len(set(seen)) > 8  # short ones may be equal by chance


def test_a_foreign_sampler_is_measured_and_corrected() -> None:
    """It says a quarter of a nat too little of each token: ρ = e^¼ everywhere."""
    one = models()
    foreign = {"models": one, "sampler": Foreign(one.policy)}
    plain = drawn_of(**foreign)
    ratio = torch.tensor(0.25).exp().item()
    assert plain.metrics["sampler/ratio_max"] == pytest.approx(ratio, rel=1e-4)
    assert plain.metrics["sampler/kl"] == pytest.approx(ratio - 1 - 0.25, rel=1e-3)
    assert plain.batch.weights is None
    knobs = dataclasses.replace(KNOBS, sampler_correction="truncate", correction_high=1.1)
    fixed = drawn_of(knobs, **foreign)
    torch.testing.assert_close(fixed.batch.weights[fixed.batch.mask], torch.full((int(fixed.batch.mask.sum()),), 1.1))
    assert fixed.metrics["sampler/limited"] == 1
    assert "sampler/kl" not in drawn_of(models=one).metrics
    exact = drawn_of(knobs, models=one)  # the policy's own sampler, whose roundings are measured all the same
    assert exact.metrics["sampler/ratio_max"] == pytest.approx(1, abs=1e-4)
    assert exact.metrics["sampler/ratio_max"] > 1
    assert not torch.equal(exact.batch.old_logprobs, exact.batch.sampler_logprobs)


def test_the_first_ratio_of_a_transformer_is_one() -> None:
    """With the sampler's own log-probabilities, to rounding; micro-batches change nothing."""
    drawn, found = drawn_of(), models()
    (ready,) = prepared(GRPO(), found, [drawn.batch], {})
    metrics = gradient(GRPO(), found, ready)
    slope = [p.grad.clone() for p in found.policy.parameters().values()]
    assert metrics["val/ratio"] == pytest.approx(1, abs=1e-5)
    assert metrics["policy/clipfrac_avg"] == 0
    found.policy.model.zero_grad()
    again = gradient(GRPO(), found, ready, pieces=5)
    assert again == pytest.approx(metrics, rel=1e-4, abs=1e-6)
    for one, p in zip(slope, found.policy.parameters().values(), strict=True):
        torch.testing.assert_close(one, p.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"completions_per_prompt": 1}, "completions_per_prompt must be at least 2, not 1: a single one has nothing"),
        ({"redraws": -1}, "redraws must be at least 0"),
        ({"overlong_share": 0.0}, r"overlong_share must lie in \(0, 1\], not 0.0"),
        ({"overlong_penalty": 0.5}, "overlong_penalty only applies to the last tokens of a share"),
        ({"correction_level": "sequence"}, "correction_level only applies to a correction: set sampler_correction too"),
        ({"correction_low": 0.5}, "correction_low only applies to a correction"),
        ({"correction_high": 3.0}, "correction_high only applies to a correction"),
        ({"sampler_correction": "mask", "correction_low": 1.5}, r"correction_low must lie in \[0, 1\], not 1.5"),
    ],
)
def test_knobs_that_make_no_sense_are_refused(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GroupCompletions(**knobs)


def test_one_completion_is_enough_where_nothing_is_compared() -> None:
    drawn = drawn_of(LooseCompletions(reward="a test", rollout=4, max_new_tokens=6))
    assert drawn.batch.peers.shape == (4, 1)
    assert "objective/frac_reward_zero_std" not in drawn.metrics
    with pytest.raises(ValueError, match="redraws replaces groups of equal scores"):
        LooseCompletions(redraws=1)
