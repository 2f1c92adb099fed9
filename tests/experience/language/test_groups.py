"""Groups of completions: scores, KL and metrics by hand and by loops; random streams that nobody shares."""

import dataclasses
import math
from itertools import chain
from typing import Any

import pytest
import tiny
import torch
from loop_pieces import Foreign, prompts_of, source_of

from burnish.data.walk import Plan
from burnish.experience.interface import RolloutError
from burnish.experience.language.groups import (
    Groups,
    ScoredGroups,
    best,
    grouped,
    metrics,
    prompt_record,
    sample_record,
    worst,
)
from burnish.experience.language.sampling import rollout_rows
from burnish.policies.interface import Models
from burnish.policies.language.sampler import sample
from burnish.rewards.function import function_reward

KNOBS = Groups(reward="a test", completions_per_prompt=3, rollout=4, max_new_tokens=6)


def counted(prompts: Any, responses: Any, **columns: Any) -> list[float]:
    """The number of a response's words."""
    return [float(len(response.split())) for response in responses]


COUNTED = function_reward(counted)


def policies(temperature: float = 1.0, family: str = "gpt2") -> Models:
    """A policy and another as its reference, in float32."""
    pair = [tiny.make_policy(family, seed=seed, double=False) for seed in (1, 2)]
    for policy in pair:
        policy.temperature = temperature
    return Models(policy=pair[0], reference=pair[1])


def group_of(
    models: Models,
    knobs: Groups = KNOBS,
    reward: Any = COUNTED,
    prompts: Any = 5,
    which: tuple[int, ...] = (2, 0),
    turn: int = 0,
    seed: int = 0,
    foreign: bool = False,
) -> ScoredGroups:
    """Three completions for each of these prompts, with the reference's log-probabilities."""
    source = source_of(models, prompts, reward, seed)
    if foreign:
        source = dataclasses.replace(source, sampler=Foreign(models.policy))
    found = knobs.complete(source, [i for i in which for _ in range(3)], turn)
    return grouped(source, found, 3, with_reference=True)


@pytest.mark.parametrize(("temperature", "penalty"), [(1.0, None), (0.7, 0.25)])
def test_a_group_is_what_loops_make_of_it(temperature: float, penalty: float | None) -> None:
    models = policies(temperature, "llama")
    group = group_of(models, dataclasses.replace(KNOBS, temperature=temperature, missing_eos_penalty=penalty))
    batch, ended, entropies = group.batch, 0, []
    assert group.found.completed.rows == [2, 2, 2, 0, 0, 0]
    for row in range(6):
        i, k = divmod(row, 3)
        ids, mask = batch.tokens[row, : batch.lengths[row]].tolist(), batch.mask[row, : batch.lengths[row]].tolist()
        with torch.no_grad():
            ours, theirs = (
                [x.item() for x in tiny.naive_logprobs(p.model, ids, mask, temperature)]
                for p in (models.policy, models.reference)
            )
        words, end = sum(token >= 3 for token, real in zip(ids, mask, strict=True) if real), ids[-1] == tiny.EOS
        ended += end
        entropies.append(-sum(ours))
        assert group.scores[i, k] == words
        assert group.counted[i, k] == words - (penalty or 0.0) * (not end)
        assert group.kl[i, k].item() == pytest.approx(sum(ours) - sum(theirs), abs=1e-4)
        assert group.entropy[i, k].item() == pytest.approx(-sum(ours), abs=1e-4)
        assert group.ref_logprobs[row, : len(ids)].tolist() == pytest.approx(theirs, abs=1e-5)
        one = {"response": group.found.completed.responses[row], "score": float(words), "ended": end}
        assert sample_record(group, k, i) == one | {"kl": pytest.approx(sum(ours) - sum(theirs), abs=1e-4)}
    assert 0 < ended < 6
    found, scores = metrics(group), group.scores.flatten().tolist()
    mean = sum(scores) / 6
    assert found == {
        "objective/kl": pytest.approx(group.kl.double().mean().item(), abs=1e-5),
        "objective/entropy": pytest.approx(sum(entropies) / 6, abs=1e-4),
        "objective/scores": pytest.approx(mean),
        "objective/scores_std": pytest.approx(math.sqrt(sum((s - mean) ** 2 for s in scores) / 6)),
        "objective/length": pytest.approx(sum(batch.mask.flatten().tolist()) / 6),
        "val/contain_eos_token": pytest.approx(ended / 6),
    }


def test_every_completion_has_a_random_stream_of_its_own() -> None:
    """Of one prompt in two rows, of two turns and two seeds, three times each: the texts of twelve streams apiece."""
    models = policies()
    prompts = prompts_of(models.policy, [{"prompt": "good film"}] * 2)
    knobs = dataclasses.replace(KNOBS, max_new_tokens=20)
    texts = []
    for seed in (0, 1):
        for turn in (0, 1):
            batch = group_of(models, knobs, prompts=prompts, which=(0, 1), turn=turn, seed=seed).batch
            streams = [turn * 2**20 + k for k in range(6)]
            drawn = sample(models.policy, [prompts.ids[0]] * 6, seed=seed, max_new_tokens=20, streams=streams)
            rows = zip(batch.tokens.tolist(), batch.mask.tolist(), strict=True)
            ids = [tuple(t for t, real in zip(*row, strict=True) if real) for row in rows]
            assert ids == [tuple(row) for row in drawn.tokens]
            texts += ids
    assert len(set(texts)) > 20  # short ones may be equal by chance


def test_turns_walk_the_prompts_and_know_of_no_other() -> None:
    source = source_of(policies(), 9, COUNTED, seed=5)
    found = [KNOBS.group(source, number) for number in range(6)]
    for number, group in enumerate(found):
        rows = group.found.completed.rows
        assert rows[::3] == rollout_rows(Plan((9,)), 4, 5, number)
        assert group.scores.shape == (len(rows) // 3, 3)
    assert sorted(chain(*(group.found.completed.rows for group in found[:3]))) == sorted([*range(9)] * 3)
    again = KNOBS.group(source_of(policies(), 9, COUNTED, seed=5), 4)
    assert torch.equal(again.batch.tokens, found[4].batch.tokens)
    assert torch.equal(again.entropy, found[4].entropy)


def test_a_reference_that_nobody_needs_is_not_asked() -> None:
    """Groups by themselves compare scores alone: there is no KL, and no line speaks of one."""
    models = policies()
    group = KNOBS.group(source_of(Models(policy=models.policy), 9, COUNTED), 0)
    assert (group.kl, group.ref_logprobs) == (None, None)
    assert metrics(group).keys() == metrics(group_of(models)).keys() - {"objective/kl"}
    assert sample_record(group, 0, 0).keys() == {"response", "score", "ended"}
    assert KNOBS.evaluate(source_of(Models(policy=models.policy), 9, COUNTED), 4).keys() == {"loss", *metrics(group)}


def test_a_sampler_that_is_not_exact_is_not_believed() -> None:
    """It is a quarter of a nat wrong about each token; entropy and KL are of the policy's own numbers."""
    models = policies()
    one, other = group_of(models), group_of(models, foreign=True)
    assert torch.equal(one.batch.tokens, other.batch.tokens)
    torch.testing.assert_close(other.entropy, one.entropy, rtol=0, atol=1e-4)
    torch.testing.assert_close(other.kl, one.kl, rtol=0, atol=1e-4)
    assert not torch.allclose(other.found.sampler_logprobs, one.found.sampler_logprobs, atol=0.1)


def test_a_prompts_record_is_of_its_own_row() -> None:
    rows = tiny.prompt_rows(5)
    found = [prompt_record(group_of(policies()), row) for row in (0, 1)]
    assert found == [{"row": i, "prompt": rows[i]["prompt"]} for i in (2, 0)]


def test_scores_that_differ_little_are_no_tie() -> None:
    """By less than a float32 can tell."""
    reward = function_reward(lambda prompts, responses: [1 + i * 1e-12 for i in range(len(responses))])
    group = group_of(policies(), reward=reward)
    assert best(group.counted).tolist() == [2, 2]
    assert worst(group.counted).tolist() == [0, 0]


def test_of_equals_the_first_is_best_and_worst() -> None:
    scores = torch.tensor([[1.0, 2.0, 2.0], [0.5, 0.5, 0.5], [3.0, -1.0, -1.0]])
    assert best(scores).tolist() == [1, 0, 0]
    assert worst(scores).tolist() == [0, 0, 1]


def test_places_are_rows_of_the_batch() -> None:
    group = group_of(policies())
    assert group.flat(torch.tensor([2, 0])).tolist() == [2, 3]
    assert group.flat(torch.tensor([[2, 1], [0, 2]])).tolist() == [[2, 1], [3, 5]]


def test_held_out_prompts_are_answered_once_and_always_alike() -> None:
    """The loss is less the score that counts, so a penalty is in it, and the score that is told is the reward's own."""
    seen: list[int] = []

    def noted(prompts: Any, responses: Any, number: Any) -> list[float]:
        seen.extend(number)
        return counted(prompts, responses)

    knobs = dataclasses.replace(KNOBS, missing_eos_penalty=2.0)
    source = source_of(policies(), 9, function_reward(noted))
    found = knobs.evaluate(source, 6)
    assert knobs.evaluate(source, 6) == found
    assert seen == rollout_rows(Plan((9,)), 6, 0, 0) * 2
    assert 0 < found["val/contain_eos_token"] < 1
    fined = found["objective/scores"] - 2 * (1 - found["val/contain_eos_token"])
    assert found["loss"] == pytest.approx(-fined)


@pytest.mark.parametrize("score", [math.nan, None, "good"])
def test_a_reward_that_is_amiss_leaves_its_rollout_behind(score: Any) -> None:
    reward = function_reward(lambda prompts, responses, number: [score if n == 2 else 1.0 for n in number])
    with pytest.raises(RolloutError, match=" for row 2: return a finite number") as caught:
        group_of(policies(), reward=reward)
    assert [line["row"] for line in caught.value.rollout] == [2, 2, 2, 0, 0, 0]
    assert all(line.keys() == {"row", "prompt", "response"} for line in caught.value.rollout)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"rollout": 0}, "rollout must be at least 1, not 0"),
        ({"max_new_tokens": 0}, "max_new_tokens must be at least 1, not 0"),
        (
            {"completions_per_prompt": 1},
            "completions_per_prompt must be at least 2, not 1: a single one has nothing to be compared with",
        ),
        ({"temperature": 0.0}, "temperature must be at least 0.0001, not 0.0"),
        ({"temperature": math.nan}, "temperature must be at least 0.0001, not nan"),
        ({"missing_eos_penalty": -1.0}, "missing_eos_penalty must be at least 0, not -1.0"),
        ({"keep_samples": -1}, "keep_samples must be at least 0, not -1"),
    ],
)
def test_knobs_that_make_no_sense_are_refused(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Groups(**knobs)
    assert Groups(missing_eos_penalty=0.0, keep_samples=0)
