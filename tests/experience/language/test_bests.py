"""Best completions as demonstrations: by hand, and the very ids that were sampled."""

import dataclasses
from typing import Any

import pytest
import tiny
import torch
from loop_pieces import source_of

from burnish.data.prompts import Prompts
from burnish.experience.interface import draws
from burnish.experience.language.bests import Bests, picked
from burnish.experience.language.groups import ScoredGroups
from burnish.experience.language.sampling import Scored, completed_rows
from burnish.policies.interface import Models, Sampled
from burnish.policies.language.sampler import sample
from burnish.rewards.function import function_reward

KNOBS = Bests(reward="a test", completions_per_prompt=3, rollout=4, max_new_tokens=5)


def test_the_best_by_hand() -> None:
    """`a film` with scores 0 2 1, and nothing with 4 5 6 of which the last, having no end, counts 1½ less."""
    policy = tiny.make_policy(double=False)
    tokens = [[3, 1], [4, 6, 1], [5, 1], [6, 1], [7, 7, 1], [8, 8]]
    prompts = Prompts([[0, 7, 5], [0]], ["a film", ""], {}, [4, 9], {}, "", "")
    sampled = Sampled(tokens, [[]] * 6, [True] * 5 + [False])
    completed = completed_rows(policy, prompts, [0, 0, 0, 1, 1, 1], sampled)
    scores = torch.tensor([[0.0, 2.0, 1.0], [4.0, 5.0, 6.0]], dtype=torch.float64)
    counted = scores - torch.tensor([[0, 0, 0], [0, 0, 1.5]])
    kl = torch.arange(6.0).view(2, 3)
    one = Scored(completed, sampled, scores.flatten(), counted.flatten())
    group = ScoredGroups(one, scores, counted, torch.zeros(6, 1), kl, kl)
    found = picked(group, 8, 2)
    assert found.batch.tokens.tolist() == [[0, 7, 5, 4, 6, 1], [0, 7, 7, 1, 0, 0]]
    assert found.batch.mask.tolist() == [[False] * 3 + [True] * 3, [False, True, True, True, False, False]]
    assert (found.batch.lengths.tolist(), found.batch.rows.tolist()) == ([6, 4], [4, 9])
    assert found.metrics["objective/scores"] == 3.0
    assert found.metrics["objective/best_scores"] == 3.5
    assert found.metrics["rollout"] == 3
    first = {"row": 4, "prompt": "a film", "response": "bad plot", "score": 2.0, "kl": 1.0, "ended": True}
    second = {"row": 9, "prompt": "", "response": "a a", "score": 5.0, "kl": 4.0, "ended": True}
    expected = [first | {"mean_score": 1.0}, second | {"mean_score": 5.0}]
    assert found.samples == expected
    for keep in (0, 1):
        assert picked(group, keep, 2).samples == expected[:keep]


@pytest.mark.parametrize("turn", [0, 2])
def test_the_ids_are_those_that_were_sampled(turn: int) -> None:
    """Three streams of each row: the longest of even rows is imitated, the shortest of odd ones, with its end only
    where it had one."""
    models = Models(policy=tiny.make_policy("gpt2", seed=1, double=False))

    def length(prompts: Any, responses: Any, number: Any) -> list[float]:
        return [(-1) ** n * float(len(response.split())) for response, n in zip(responses, number, strict=True)]

    knobs = dataclasses.replace(KNOBS, keep_samples=0)
    source = source_of(models, 9, function_reward(length), seed=5)
    prompts, stream = source.prompts, draws(knobs, source, turn)
    batch = next(stream).batch
    ends = []
    for i, row in enumerate(batch.rows.tolist()):
        streams = [turn * 2**20 + 3 * i + k for k in range(3)]
        drawn = sample(models.policy, [prompts.ids[row]] * 3, seed=5, max_new_tokens=5, streams=streams)
        words = [len([t for t in ids if t >= 3]) for ids in drawn.tokens]
        expected = drawn.tokens[words.index((min if row % 2 else max)(words))]
        ends.append(expected[-1] == tiny.EOS)
        ids = batch.tokens[i, : batch.lengths[i]].tolist()
        assert ids == prompts.ids[row] + expected
        assert batch.mask[i].nonzero()[:, 0].tolist() == list(range(len(prompts.ids[row]), len(ids)))
    if turn == 0:
        assert 0 < sum(ends) < len(ends)
        assert next(stream).metrics["rollout"] == 2


def test_no_reference_is_asked() -> None:
    """Imitation has none: a rollout of a policy alone, without a KL in its metrics and samples."""
    assert KNOBS.needs == ("reward",)
    length = function_reward(lambda prompts, responses: [float(len(response)) for response in responses])
    source = source_of(Models(policy=tiny.make_policy("gpt2", double=False)), 9, length)
    found = KNOBS.draw(source, 0, {})
    assert "objective/kl" not in found.metrics
    assert "objective/entropy" in found.metrics
    keys = {"row", "prompt", "response", "score", "ended", "mean_score"}
    assert [sample.keys() for sample in found.samples] == [keys] * 4
    assert "objective/kl" not in KNOBS.evaluate(source, 3)
