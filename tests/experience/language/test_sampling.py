"""Sampling: which prompts a rollout has, from which random streams, and whose log-probabilities are whose."""

import dataclasses
import math
from itertools import chain
from typing import Any

import pytest
import tiny
import torch
from loop_pieces import Foreign, prompts_of, settings, source_of

from burnish.data.prompts import Prompts
from burnish.data.walk import Plan
from burnish.experience.interface import RolloutError
from burnish.experience.language.bests import Bests
from burnish.experience.language.completions import Completions
from burnish.experience.language.group_completions import GroupCompletions
from burnish.experience.language.pairs import Pairs
from burnish.experience.language.sampling import (
    Sampling,
    Scored,
    completed_rows,
    of_parts,
    rollout_rows,
    scored,
    where_tokens_lie,
)
from burnish.experience.language.taught import TaughtCompletions
from burnish.policies.interface import Models, Sampled, Wanted
from burnish.policies.language.policy import LanguagePolicy
from burnish.policies.language.sampler import PolicySampler, sample
from burnish.rewards.function import function_reward
from burnish.rewards.weighted import Weighted
from burnish.run import UserError

KNOBS = Sampling(reward="a test", rollout=3, max_new_tokens=12)
COUNTED = function_reward(lambda prompts, responses, **columns: [float(len(text.split())) for text in responses])


def models() -> Models:
    return Models(policy=tiny.make_policy("gpt2", double=False))


# Which prompts -----------------------------------------------------------------------------------------------------


def test_every_prompt_comes_once_an_epoch() -> None:
    for epoch in range(3):
        parts = [rollout_rows(Plan((7,)), 3, 5, 3 * epoch + k) for k in range(3)]
        assert [len(part) for part in parts] == [3, 3, 1]
        assert sorted(chain(*parts)) == list(range(7))
    epochs = [(seed, range(3 * epoch, 3 * epoch + 3)) for seed in (5, 6) for epoch in (0, 1)]
    orders = [[rollout_rows(Plan((7,)), 3, seed, number) for number in epoch] for seed, epoch in epochs]
    assert all(orders[i] != orders[j] for i in range(4) for j in range(i))
    assert rollout_rows(Plan((7,)), 99, 5, 0) == list(chain(*orders[0]))


# From which streams ------------------------------------------------------------------------------------------------


def test_rollouts_and_rows_and_seeds_have_random_streams_of_their_own() -> None:
    """One prompt, eight times: in one rollout twice, in others, and of another seed."""
    policies, texts = models(), []
    prompts = prompts_of(policies.policy, [{"prompt": "good film"}] * 2)
    for seed in (0, 1):
        for number in (0, 1):
            found = KNOBS.complete(source_of(policies, prompts, COUNTED, seed), [0, 1], number)
            texts += [tuple(ids) for ids in found.sampled.tokens]
    assert len(set(texts)) == 8


def test_streams_are_numbered_from_the_rollouts_own_first_one() -> None:
    """Stream k of rollout 3 is 3·2²⁰ + k, at the temperature and with the limit of the options."""
    policies = models()
    source = source_of(policies, 7, COUNTED, seed=5)
    found = dataclasses.replace(KNOBS, temperature=0.7, max_new_tokens=9).complete(source, [4, 4, 1], 3)
    expected = sample(
        policies.policy,
        [source.prompts.ids[i] for i in (4, 4, 1)],
        seed=5,
        max_new_tokens=9,
        temperature=0.7,
        streams=[3 * 2**20 + k for k in range(3)],
    )
    assert found.sampled == expected


def test_more_completions_than_there_are_streams_are_refused() -> None:
    with pytest.raises(UserError, match=r"a rollout of 1,048,577 completions is more than 1,048,576: make rollout or"):
        KNOBS.complete(source_of(models(), 2, COUNTED), [0] * (2**20 + 1), 0)


class Telling:
    """A sampler that notes what it is asked for."""

    exact = True

    def __init__(self, policy: LanguagePolicy) -> None:
        self.own, self.asked = PolicySampler(policy), list[Wanted]()

    def sample(self, *asked: Any) -> Sampled:
        self.asked.append(Wanted(*asked))
        return self.own.sample(*asked)

    def load(self, *_: Any) -> None: ...


@pytest.mark.parametrize(
    "knobs",
    [
        Completions(reward=COUNTED, rollout=3, max_new_tokens=3, beta=0.0),
        GroupCompletions(reward=COUNTED, rollout=2, completions_per_prompt=2, max_new_tokens=3, temperature=0.7),
        Pairs(reward=COUNTED, rollout=2, max_new_tokens=3, refresh_reference=True),
        Bests(reward=COUNTED, rollout=2, completions_per_prompt=3, max_new_tokens=3),
        TaughtCompletions(rollout=3, max_new_tokens=3),
    ],
    ids=lambda knobs: type(knobs).__name__,
)
def test_what_a_rollout_will_ask_for_is_known_before(knobs: Sampling) -> None:
    policies = models()
    source = dataclasses.replace(source_of(policies, 7, COUNTED), sampler=Telling(policies.policy))
    for number in (1, 2, 3):  # the third is the short one of an epoch
        known = knobs.ahead(source, number)
        assert source.sampler.asked == []
        knobs.draw(source, number, {})
        assert [known] == source.sampler.asked
        source.sampler.asked.clear()


def test_what_depends_on_scores_or_an_environment_is_not() -> None:
    source = source_of(models(), 7, COUNTED)
    more: dict[str, Any] = {"reward": COUNTED, "rollout": 2, "completions_per_prompt": 2}
    assert GroupCompletions(**more, redraws=1).ahead(source, 0) is None
    assert GroupCompletions(**more, environment="guess").ahead(source, 0) is None


# What was sampled --------------------------------------------------------------------------------------------------

PROMPTS = Prompts([[0, 7, 5], [0]], ["a film", ""], {"answer": ["x", "y"]}, [4, 9], {}, "", "")
SAMPLED = Sampled([[4, 6, 6], [3, tiny.EOS]], [[-2.0, -1.0, -0.25], [-1.0, -0.5]], [False, True], version=3)


def test_what_a_reward_sees_by_hand() -> None:
    """The second prompt answered with `bad plot plot` up to the limit, the first with `good` and EOS."""
    completed = completed_rows(tiny.make_policy(), PROMPTS, [1, 0], SAMPLED)
    assert completed.prompts == ["", "a film"]
    assert completed.responses == ["bad plot plot", "good"]
    assert completed.texts == ["bad plot plot", "a film good"]
    assert completed.columns == {"answer": ["y", "x"]}
    assert (completed.rows, completed.ended) == ([9, 4], [False, True])
    assert completed.batch.tokens.tolist() == [[0, 4, 6, 6, 0], [0, 7, 5, 3, 1]]
    assert completed.batch.mask.tolist() == [[False] + [True] * 3 + [False], [False] * 3 + [True] * 2]
    assert completed.batch.lengths.tolist() == [4, 5]


@pytest.mark.parametrize("keep", [False, True])
def test_special_tokens_are_kept_when_asked_and_missed_aloud(keep: bool) -> None:
    """What is drawn is decoded word by word; without `keep`, 7, which the template writes, is left out, and said so.

    The special word 5, "film", is none of the template's."""
    policy = LanguagePolicy(tiny.make_model("gpt2"), tiny.make_chat_tokenizer("a", "film"))
    sentences, seen = [], []
    reward = function_reward(lambda prompts, responses, **_: seen.extend(responses) or [0.0] * len(responses))
    source = dataclasses.replace(source_of(Models(policy=policy), 7, reward), say=sentences.append)
    knobs = dataclasses.replace(KNOBS, keep_special_tokens=keep)
    found = knobs.complete(source, range(7), 0)
    drawn = [ids[:-1] if ended else ids for ids, ended in zip(found.sampled.tokens, found.sampled.ended, strict=True)]
    assert any(7 in ids for ids in drawn)
    assert any(5 in ids for ids in drawn)
    framing = set() if keep else {tiny.BOS, tiny.UNK, 7}
    words = ("<s>", "</s>", "<unk>", *tiny.WORDS)
    assert seen == [" ".join(words[token] for token in ids if token not in framing) for ids in drawn]
    assert len(sentences) == (0 if keep else 1)
    assert all("completions contain a, a special token of the chat template" in sentence for sentence in sentences)


def test_sampled_log_probabilities_lie_where_their_tokens_do() -> None:
    completed = completed_rows(tiny.make_policy(), PROMPTS, [1, 0], SAMPLED)
    expected = [[0, -2, -1, -0.25, 0], [0, 0, 0, -1, -0.5]]
    assert where_tokens_lie(SAMPLED, completed.batch.mask).tolist() == expected
    scores = torch.zeros(2, dtype=torch.float64)
    assert Scored(completed, SAMPLED, scores, scores).sampler_logprobs.tolist() == expected


def test_an_exact_sampler_is_believed_and_no_other() -> None:
    """An exact one's numbers stand for the policy's, which is not asked; from another the policy computes them anew."""
    policies = models()
    source = source_of(policies, 7, COUNTED)
    reads: list[int] = []
    found = KNOBS.complete(source, [0, 1, 2], 0)
    policies.policy.model.base_model.register_forward_hook(lambda *_: reads.append(1))
    assert torch.equal(found.old_logprobs(source), found.sampler_logprobs)
    assert reads == []
    foreign = dataclasses.replace(source, sampler=Foreign(policies.policy))
    told = KNOBS.complete(foreign, [0, 1, 2], 0)
    reads.clear()
    old_logprobs = told.old_logprobs(foreign)
    assert reads == [1]
    assert not old_logprobs.requires_grad
    batch = told.completed.batch
    with torch.no_grad():
        assert torch.equal(old_logprobs, policies.policy.logprobs(batch))
    torch.testing.assert_close(old_logprobs, found.sampler_logprobs, rtol=0, atol=1e-5)
    off = torch.where(batch.mask, 0.25, 0.0)
    torch.testing.assert_close(old_logprobs - told.sampler_logprobs, off, rtol=0, atol=1e-5)


# Scores ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("penalty", [None, 0.0, 1.5])
def test_what_did_not_end_counts_less_by_the_penalty(penalty: float | None) -> None:
    """In float64, as the reward gave them: 1 + 10⁻¹² is not 1."""
    knobs = dataclasses.replace(KNOBS, missing_eos_penalty=penalty, max_new_tokens=16)
    reward = function_reward(lambda prompts, responses: [1 + i * 1e-12 for i in range(len(responses))])
    found = knobs.complete(source_of(models(), 7, reward), list(range(7)), 0)
    assert found.scores.tolist() == [1 + i * 1e-12 for i in range(7)]
    assert 0 < sum(found.sampled.ended) < 7
    expected = [
        score - (penalty or 0.0) * (not ended)
        for score, ended in zip(found.scores.tolist(), found.sampled.ended, strict=True)
    ]
    assert found.counted.tolist() == expected


@pytest.mark.parametrize("wrong", [math.nan, None, "good"])
def test_what_could_not_be_scored_is_kept(wrong: Any) -> None:
    completed = completed_rows(tiny.make_policy(), PROMPTS, [1, 0], SAMPLED)
    with pytest.raises(RolloutError, match=r" for row 4: return a finite number") as caught:
        scored(function_reward(lambda prompts, responses: [0.0, wrong]), completed)
    assert caught.value.rollout == [
        {"row": 9, "prompt": "", "response": "bad plot plot"},
        {"row": 4, "prompt": "a film", "response": "good"},
    ]
    assert scored(function_reward(lambda prompts, responses: [0.0, 2]), completed) == ([0.0, 2.0], {})


# Options -----------------------------------------------------------------------------------------------------------


def test_what_it_asks_of_a_run() -> None:
    assert KNOBS.needs == ("reward",)
    assert (KNOBS.room, KNOBS.rows_per_prompt, KNOBS.temperature, KNOBS.critic_model) == (12, 1, 1.0, None)
    assert dataclasses.replace(KNOBS, temperature=0.5).temperature == 0.5


class Twice(Sampling):
    rows_per_prompt = 2  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("knobs", "options", "expected"),
    [
        (KNOBS, {"batch_size": 3}, []),
        (KNOBS, {"batch_size": 4}, ["rollout must not be smaller than batch_size"]),
        (Twice(reward="a test", rollout=3), {"batch_size": 6}, []),
        (Twice(reward="a test", rollout=3), {"batch_size": 7}, ["rollout must not be smaller than batch_size"]),
        (
            Sampling(rollout=3),
            {"batch_size": 3},
            [
                "mine needs a reward: a reward-model folder, 'gold', 'lexicon', a checker such as match, or "
                "module:function"
            ],
        ),
        (
            KNOBS,
            {"batch_size": 3, "max_length": 12},
            ["max_new_tokens must be smaller than max_length, which counts the prompt too"],
        ),
        (KNOBS, {"batch_size": 3, "max_length": 13}, []),
        (
            KNOBS,
            {"batch_size": 3, "patience": 1, "eval_every": 1},
            ["patience needs a loss on fixed data, but the policy's own completions change"],
        ),
    ],
)
def test_settings_that_make_no_sense_with_it(knobs: Sampling, options: dict[str, Any], expected: list[str]) -> None:
    found = knobs.problems("mine", settings(**options))
    assert [sentence for sentence, applies in found.items() if applies] == expected


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"rollout": 0}, "rollout must be at least 1, not 0"),
        ({"max_new_tokens": 0}, "max_new_tokens must be at least 1, not 0"),
        ({"temperature": 0.0}, "temperature must be at least 0.0001, not 0.0"),
        ({"temperature": math.nan}, "temperature must be at least 0.0001, not nan"),
        ({"temperature": math.inf}, "temperature must be at least 0.0001, not inf"),
        ({"missing_eos_penalty": -1.0}, "missing_eos_penalty must be at least 0, not -1.0"),
        ({"keep_samples": -1}, "keep_samples must be at least 0, not -1"),
    ],
)
def test_knobs_that_make_no_sense_are_refused(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sampling(**knobs)
    assert Sampling(missing_eos_penalty=0.0, keep_samples=0)


def test_the_parts_of_a_sum_are_kept_apart() -> None:
    """Scores 1, 3 and 2, 0 with weights 1 and 0.5: the sums are 2 and 3; deviations are 1 about the means 2 and 1."""
    parts = (function_reward(lambda p, r: [1.0, 3.0], "a"), function_reward(lambda p, r: [2.0, 0.0], "b"))
    completed = completed_rows(tiny.make_policy(), PROMPTS, [1, 0], SAMPLED)
    scores, apart = scored(Weighted("x", parts, (1.0, 0.5), ("a", "b")), completed)
    assert (scores, apart) == ([2.0, 3.0], {"a": [1.0, 3.0], "b": [2.0, 0.0]})
    assert of_parts(apart) == {
        "rewards/a/mean": 2.0,
        "rewards/a/std": 1.0,
        "rewards/b/mean": 1.0,
        "rewards/b/std": 1.0,
    }
