"""Groups of completions: scores, KL and metrics by hand and by loops; random streams that nobody shares."""

import dataclasses
import math
from itertools import chain
from typing import Any

import pytest
import tiny
import torch

from burnish.data.prompts import Prompts, read_prompts
from burnish.data.sources import load
from burnish.experience.language.completions import RolloutError, rows_of_turn
from burnish.experience.language.groups import Group, Groups, best, held_out, metrics, sample_group, told, turns, worst
from burnish.policies.interface import Models
from burnish.policies.language.policy import LanguagePolicy
from burnish.policies.language.sampler import sample
from burnish.rewards.function import function_reward
from burnish.run import UserError

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
    return Models(*pair)


def prompts_of(policy: LanguagePolicy, rows: list[dict[str, Any]]) -> Prompts:
    return read_prompts(load(rows), policy.tokenizer, 20, "rows")


def group_of(models: Models, knobs: Groups = KNOBS, which: tuple[int, ...] = (2, 0), **more: Any) -> Group:
    prompts = prompts_of(models.policy, tiny.prompt_rows(5))  # type: ignore[arg-type]
    options = {"reward": COUNTED, "seed": 0, "turn": 0, "count": 3} | more
    return sample_group(models, knobs, prompts, which=list(which), **options)


@pytest.mark.parametrize(("temperature", "penalty"), [(1.0, None), (0.7, 0.25)])
def test_a_group_is_what_loops_make_of_it(temperature: float, penalty: float | None) -> None:
    models = policies(temperature, "llama")
    group = group_of(models, dataclasses.replace(KNOBS, temperature=temperature, missing_eos_penalty=penalty))
    batch, ended, entropies = group.completed.batch, 0, []
    assert group.completed.rows == [2, 2, 2, 0, 0, 0]
    for row in range(6):
        i, k = divmod(row, 3)
        ids, mask = batch.tokens[row, : batch.lengths[row]].tolist(), batch.mask[row, : batch.lengths[row]].tolist()
        with torch.no_grad():
            ours, theirs = (
                [x.item() for x in tiny.naive_logprobs(p.model, ids, mask, temperature)]  # type: ignore[union-attr]
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
        one = {"response": group.completed.responses[row], "score": float(words), "ended": end}
        assert told(group, k, i) == one | {"kl": pytest.approx(sum(ours) - sum(theirs), abs=1e-4)}
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
    prompts = prompts_of(models.policy, [{"prompt": "good film"}] * 2)  # type: ignore[arg-type]
    knobs = dataclasses.replace(KNOBS, max_new_tokens=20)
    texts = []
    for seed in (0, 1):
        for turn in (0, 1):
            group = sample_group(models, knobs, prompts, COUNTED, [0, 1], seed, turn, 3)
            batch = group.completed.batch
            streams = [turn * 2**20 + k for k in range(6)]
            drawn = sample(models.policy, [prompts.ids[0]] * 6, seed=seed, max_new_tokens=20, streams=streams)  # type: ignore[arg-type]
            rows = zip(batch.tokens.tolist(), batch.mask.tolist(), strict=True)
            ids = [tuple(t for t, real in zip(*row, strict=True) if real) for row in rows]
            assert ids == [tuple(row) for row in drawn.tokens]
            texts += ids
    assert len(set(texts)) > 20  # short ones may be equal by chance


def test_turns_walk_the_prompts_and_know_of_no_other() -> None:
    models = policies()
    prompts = prompts_of(models.policy, tiny.prompt_rows(9))  # type: ignore[arg-type]
    source = turns(models, KNOBS, prompts, COUNTED, 5, 0)
    found = [next(source) for _ in range(6)]
    assert [number for number, _ in found] == list(range(6))
    for number, group in found:
        assert group.completed.rows[::3] == rows_of_turn(9, 4, 5, number)
        assert group.scores.shape == (len(group.completed) // 3, 3)
    assert sorted(chain(*(group.completed.rows for _, group in found[:3]))) == sorted([*range(9)] * 3)
    number, again = next(turns(models, KNOBS, prompts, COUNTED, 5, 4))
    assert number == 4
    assert torch.equal(again.completed.batch.tokens, found[4][1].completed.batch.tokens)
    assert torch.equal(again.kl, found[4][1].kl)


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
    models = policies()
    prompts = prompts_of(models.policy, tiny.prompt_rows(9))  # type: ignore[arg-type]
    seen: list[int] = []

    def noted(prompts: Any, responses: Any, number: Any) -> list[float]:
        seen.extend(number)
        return counted(prompts, responses)

    knobs = dataclasses.replace(KNOBS, missing_eos_penalty=2.0)
    found = held_out(models, knobs, prompts, function_reward(noted), 0, 6)
    assert held_out(models, knobs, prompts, function_reward(noted), 0, 6) == found
    assert seen == rows_of_turn(9, 6, 0, 0) * 2
    assert 0 < found["val/contain_eos_token"] < 1
    fined = found["objective/scores"] - 2 * (1 - found["val/contain_eos_token"])
    assert found["loss"] == pytest.approx(-fined)


@pytest.mark.parametrize("score", [math.nan, None, "good"])
def test_a_reward_that_is_amiss_leaves_its_rollout_behind(score: Any) -> None:
    reward = function_reward(lambda prompts, responses, number: [score if n == 2 else 1.0 for n in number])
    with pytest.raises(RolloutError, match=" for row 2: let it return a finite number") as caught:
        group_of(policies(), reward=reward)
    assert [line["row"] for line in caught.value.rollout] == [2, 2, 2, 0, 0, 0]
    assert all(line.keys() == {"row", "prompt", "response"} for line in caught.value.rollout)


def test_more_completions_than_there_are_streams_are_refused() -> None:
    with pytest.raises(UserError, match=r"a rollout of 2 prompts with 524,289 completions each is more than 1,048,576"):
        group_of(policies(), count=2**19 + 1)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"rollout": 0}, "rollout must be at least 1, not 0"),
        ({"max_new_tokens": 0}, "max_new_tokens must be at least 1, not 0"),
        ({"completions_per_prompt": 1}, "completions_per_prompt must be at least 2, not 1"),
        ({"temperature": 0.0}, "temperature must be above 0, not 0.0"),
        ({"temperature": math.nan}, "temperature must be above 0, not nan"),
        ({"missing_eos_penalty": -1.0}, "missing_eos_penalty must not be negative, not -1.0"),
        ({"keep_samples": -1}, "keep_samples must not be negative, not -1"),
    ],
)
def test_knobs_that_make_no_sense_are_refused(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Groups(**knobs)
    assert Groups(missing_eos_penalty=0.0, keep_samples=0)
