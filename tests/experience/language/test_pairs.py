"""Pairs of one's own completions: which are chosen, which are ties, and whose log-probabilities are the reference's."""

import dataclasses
from typing import Any

import pytest
import tiny
import torch
from loop_pieces import source_of

from burnish.algorithms.online_dpo import OnlineDPO
from burnish.batches import Drawn
from burnish.data.prompts import Prompts
from burnish.experience.interface import Source, draws
from burnish.experience.language.groups import ScoredGroups
from burnish.experience.language.pairs import Pairs, paired
from burnish.experience.language.sampling import Scored, completed_rows
from burnish.policies.interface import Models, Sampled
from burnish.rewards.function import function_reward
from burnish.training.step import gradient, prepared

KNOBS = Pairs(reward="a test", completions_per_prompt=3, rollout=4, max_new_tokens=5)
TOKENS = [[3, 1], [4, 6, 6], [5, 1], [6, 1], [6, 1], [7], [8, 1], [9, 1], [9, 9, 9]]
SCORES = [[0.0, 2.0, 1.0], [4.0, 4.0, 4.0], [-1.0, -2.0, -3.0]]


def by_hand(scores: list[list[float]] = SCORES, penalty: float = 0.0, **knobs: Any) -> Drawn:
    """Prompts of rows 4, 9 and 5 with three completions each, of which those of `TOKENS` without a 1 have no end."""
    policy = tiny.make_policy(double=False)
    ended = [ids[-1] == tiny.EOS for ids in TOKENS]
    prompts = Prompts([[0, 7, 5], [0], [0, 3]], ["a film", "", "good"], {}, [4, 9, 5], {}, "", "")
    which = [i for i in range(3) for _ in range(3)]
    sampled = Sampled(TOKENS, [[]] * 9, ended)
    completed = completed_rows(policy, prompts, which, sampled)
    raw = torch.tensor(scores, dtype=torch.float64)
    numbers = torch.arange(9.0)
    ref_logprobs = torch.where(completed.batch.mask, numbers[:, None], torch.nan)
    counted = raw - penalty * ~torch.tensor(ended).view(3, 3)
    scored = Scored(completed, sampled, raw.flatten(), counted.flatten())
    group = ScoredGroups(scored, raw, counted, ref_logprobs, -numbers.view(3, 3), numbers.view(3, 3) / 8, ref_logprobs)
    return paired(dataclasses.replace(KNOBS, **knobs), source_of(Models(policy=policy), prompts, None), group, 4)


def test_best_and_worst_by_hand() -> None:
    """Of scores 0 2 1 the second and the first, of −1 −2 −3 the first and the third; 4 4 4 say nothing."""
    found = by_hand().batch
    batch, ref_logprobs = found.batch, found.ref_logprobs
    assert batch.tokens[0].tolist() == [[0, 7, 5, 4, 6, 6], [0, 7, 5, 3, 1, 0]]
    assert batch.mask[0].tolist() == [[False] * 3 + [True] * 3, [False] * 3 + [True] * 2 + [False]]
    assert batch.tokens[2].tolist() == [[0, 3, 8, 1, 0, 0], [0, 3, 9, 9, 9, 0]]
    assert batch.lengths.tolist() == [[6, 5], [0, 0], [4, 5]]
    assert batch.rows.tolist() == [4, 9, 5]
    assert not batch.mask[1].any()
    assert batch.mask[2].sum(-1).tolist() == [2, 3]
    for row, (chosen, rejected) in ((0, (1.0, 0.0)), (2, (6.0, 8.0))):
        for side, number in enumerate((chosen, rejected)):
            assert set(ref_logprobs[row, side][batch.mask[row, side]].tolist()) == {number}
    assert (batch.margins, batch.confidences) == (None, None)


def test_a_missing_end_decides_with_its_penalty() -> None:
    """2 less 1½ is less than 1, and what is told is the 1 and the 0 of the reward."""
    found = by_hand(penalty=1.5)
    batch = found.batch.batch
    assert batch.tokens[0].tolist() == [[0, 7, 5, 5, 1, 0], [0, 7, 5, 3, 1, 0]]
    assert (found.samples[0]["chosen_score"], found.samples[0]["rejected_score"]) == (1.0, 0.0)
    assert batch.tokens[1, :, :3].tolist() == [[0, 6, 1], [0, 7, 0]]  # 4 against 4 − 1½: no tie any more
    assert batch.mask[1].any(-1).all()


def test_the_same_completion_twice_is_a_tie_whatever_its_scores() -> None:
    """The first two of the second prompt are alike."""
    found = by_hand([SCORES[0], [5.0, 3.0, 4.0], SCORES[2]])
    assert not found.batch.mask[1].any()
    assert [line["tie"] for line in found.samples] == [False, True, False]
    assert found.metrics["objective/ties"] == pytest.approx(1 / 3)
    assert by_hand([SCORES[0], [5.0, 4.0, 3.0], SCORES[2]]).metrics["objective/ties"] == 0.0


def test_a_longer_completion_is_another_one() -> None:
    """Though padding is an id of 0, and that may be a token too."""
    policy = tiny.make_policy(double=False)
    sampled = Sampled([[3], [3, 0]], [[]] * 2, [False, False])
    prompts = Prompts([[0]], [""], {}, [0], {}, "", "")
    completed = completed_rows(policy, prompts, [0, 0], sampled)
    scores = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    scored = Scored(completed, sampled, scores[0], scores[0])
    group = ScoredGroups(scored, scores, scores, torch.zeros(2, 3), scores, scores, torch.zeros(2, 3))
    source = source_of(Models(policy=policy), prompts, None)
    assert paired(KNOBS, source, group, 0).metrics["objective/ties"] == 0.0


def test_metrics_by_hand() -> None:
    """Margins 2, 0 and 2; one tie of three; KLs 0 … 8 eighths, so ½ on average; six of nine ended."""
    assert by_hand().metrics == pytest.approx(
        {
            "objective/kl": 0.5,
            "objective/entropy": -4.0,
            "objective/scores": 1.0,
            "objective/scores_std": ((0 + 4 + 1 + 48 + 1 + 4 + 9) / 9 - 1) ** 0.5,
            "objective/length": 19 / 9,
            "val/contain_eos_token": 6 / 9,
            "objective/scores_margin": 4 / 3,
            "objective/ties": 1 / 3,
            "rollout": 5,
        }
    )


def test_samples_by_hand() -> None:
    first = {
        "row": 4,
        "prompt": "a film",
        "chosen": "bad plot plot",
        "chosen_score": 2.0,
        "chosen_kl": 0.125,
        "chosen_ended": False,
        "rejected": "good",
        "rejected_score": 0.0,
        "rejected_kl": 0.0,
        "rejected_ended": True,
        "tie": False,
    }
    for keep in (0, 1, 2, 8):
        found = by_hand(keep_samples=keep)
        assert found.samples[:1] == [first][:keep]
        assert len(found.samples) == min(keep, 3)
    assert by_hand().samples[1]["tie"]


def source(moved: float = 0.0, seed: int = 0) -> Source:
    """A reference, and a policy that is it, or has moved from it."""
    policy, reference = (tiny.make_policy("gpt2", seed=1, double=False) for _ in range(2))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in policy.parameters().values():
            parameter.add_(moved * torch.randn(parameter.shape, generator=generator))
    return source_of(Models(policy=policy, reference=reference), 9, function_reward(words), seed)


def words(prompts: Any, responses: Any, **columns: Any) -> list[float]:
    return [float(len(response.split())) for response in responses]


@pytest.mark.parametrize("refresh", [False, True])
def test_the_first_loss_is_ln_2_where_the_policy_is_the_reference(refresh: bool) -> None:
    """A policy that has moved is still a refreshed reference, and no longer the first one; its KL is to the first."""
    knobs = dataclasses.replace(KNOBS, rollout=9, max_new_tokens=8, refresh_reference=refresh)
    for moved in (0.0, 0.1):
        start = source(moved)
        drawn = knobs.draw(start, 0, {})
        algorithm = OnlineDPO(beta=1.0)
        found = gradient(algorithm, start.models, *prepared(algorithm, start.models, [drawn.batch], {}))
        assert drawn.metrics["objective/ties"] < 0.5
        if moved and not refresh:
            assert abs(found["loss"] - 0.6931472) > 1e-2
        else:
            assert found["loss"] == pytest.approx(0.6931472, abs=1e-5)
            assert found["rewards/margins"] == pytest.approx(0.0, abs=1e-5)
        if not refresh:
            assert (abs(drawn.metrics["objective/kl"]) > 0.1) == (moved > 0)


def test_a_refreshed_reference_is_the_policy_alone() -> None:
    """The one that training began with is not asked, and no KL to it is told."""
    knobs = dataclasses.replace(KNOBS, refresh_reference=True)
    assert (KNOBS.needs, knobs.needs) == (("reward", "reference"), ("reward",))
    whole = source(0.1)
    alone = dataclasses.replace(whole, models=Models(policy=whole.models.policy))
    found = knobs.draw(alone, 0, {})
    with torch.no_grad():
        assert torch.equal(found.batch.ref_logprobs, alone.models.policy.logprobs(found.batch.batch))
    assert KNOBS.draw(whole, 0, {}).metrics.keys() - found.metrics.keys() == {"objective/kl"}
    assert not any("kl" in key for sample in found.samples for key in sample)
    with pytest.raises(LookupError, match="these models have no reference"):
        KNOBS.draw(alone, 0, {})


def test_a_turn_is_the_same_whether_earlier_ones_were_drawn_or_not() -> None:
    start = source(0.05, seed=7)
    for refresh in (False, True):
        knobs = dataclasses.replace(KNOBS, refresh_reference=refresh)
        stream = draws(knobs, start)
        found = [next(stream) for _ in range(4)]
        again = next(draws(knobs, start, 3, {}))
        assert torch.equal(found[3].batch.ref_logprobs, again.batch.ref_logprobs)
        for field in dataclasses.fields(again.batch.batch):
            one, other = (getattr(drawn.batch.batch, field.name) for drawn in (found[3], again))
            assert one is other is None or torch.equal(one, other), field.name
        assert (again.metrics, again.samples, again.state) == (found[3].metrics, found[3].samples, {})
        assert again.metrics["rollout"] == 4
        rows = torch.cat([drawn.batch.rows for drawn in found[:3]]).tolist()
        assert sorted(rows) == list(range(9))
