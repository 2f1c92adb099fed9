"""Completions as episodes: rewards, discounts and metrics by hand and by loops; turns that know of no other turn."""

import dataclasses
import math
from itertools import islice
from typing import Any

import pytest
import tiny
import torch
from loop_pieces import Foreign, prompts_of, source_of
from tiny_scorers import make_scorer

from burnish.algorithms.ppo import PPO
from burnish.batches import Drawn
from burnish.data.prompts import Prompts
from burnish.data.walk import Plan
from burnish.experience.interface import RolloutError, draws
from burnish.experience.language.completions import Completions, episodes, next_beta
from burnish.experience.language.sampling import Scored, completed_rows, rollout_rows
from burnish.policies.interface import Models, Sampled
from burnish.rewards.function import function_reward
from burnish.training.step import gradient, prepared

KNOBS = Completions(reward="a test", rollout=3, max_new_tokens=5, beta=0.5)
NAN = math.nan


def counted(prompts: Any, responses: Any, **columns: Any) -> list[float]:
    """The number of a response's words."""
    return [float(len(response.split())) for response in responses]


COUNTED = function_reward(counted)


def policies(temperature: float = 1.0, family: str = "gpt2") -> Models:
    """A policy and another as its reference, in float32."""
    pair = [tiny.make_policy(family, seed=seed, double=False) for seed in (0, 1)]
    for policy in pair:
        policy.temperature = temperature
    return Models(policy=pair[0], reference=pair[1])


def turns(
    models: Models, knobs: Completions, count: int, start: int = 0, reward: Any = COUNTED, state: Any = None
) -> list[Drawn]:
    """So many rollouts of 7 prompts."""
    return list(islice(draws(knobs, source_of(models, 7, reward), start, state), count))


def assert_same(one: Drawn, other: Drawn) -> None:
    for field in dataclasses.fields(one.batch):
        a, b = getattr(one.batch, field.name), getattr(other.batch, field.name)
        assert (a is None) == (b is None)
        assert a is None or torch.equal(a, b), field.name
    assert (one.metrics, one.samples, one.state) == (other.metrics, other.samples, other.state)


# By hand -----------------------------------------------------------------------------------------------------------


def by_hand(turn: int = 4, **knobs: Any) -> Drawn:
    """`a film` answered with `good` and EOS, and nothing with `bad plot plot` up to the limit; scores 3 and 1.

    Log-probabilities −1 −½ and −2 −1 −¼, the reference's −1½ −¼ and −1 −1 −½: log-ratios ½ −¼ and −1 0 ¼.
    """
    policy = tiny.make_policy(double=False)
    prompts = Prompts([[0, 7, 5], [0]], ["a film", ""], {"answer": ["x", "y"]}, [4, 9], {}, "", "")
    sampled = Sampled([[3, tiny.EOS], [4, 6, 6]], [[-1.0, -0.5], [-2.0, -1.0, -0.25]], [True, False])
    table = torch.tensor([[NAN, NAN, NAN, -1.5, -0.25], [NAN, -1.0, -1.0, -0.5, NAN]])
    completed = completed_rows(policy, prompts, [0, 1], sampled)
    source = source_of(Models(policy=policy, reference=tiny.Table(table)), prompts, None)
    scores = torch.tensor([3.0, 1.0], dtype=torch.float64)
    counted = scores - knobs.get("missing_eos_penalty", 0.0) * ~torch.tensor(sampled.ended)
    return episodes(dataclasses.replace(KNOBS, **knobs), source, Scored(completed, sampled, scores, counted), 0.5, turn)


def test_an_episode_by_hand() -> None:
    """β ½: a token's reward is −½ of its log-ratio, and the last one's has the score beside it."""
    batch = by_hand(gamma=0.9).batch
    assert batch.tokens.tolist() == [[0, 7, 5, 3, 1], [0, 4, 6, 6, 0]]
    assert batch.mask.tolist() == [[False] * 3 + [True] * 2, [False] + [True] * 3 + [False]]
    assert (batch.lengths.tolist(), batch.rows.tolist()) == ([5, 4], [4, 9])
    assert batch.old_logprobs.tolist() == [[0, 0, 0, -1, -0.5], [0, -2, -1, -0.25, 0]]
    assert torch.equal(batch.sampler_logprobs, batch.old_logprobs)
    assert batch.ref_logprobs[batch.mask].tolist() == [-1.5, -0.25, -1, -1, -0.5]
    assert batch.limit == 5
    torch.testing.assert_close(batch.rewards, torch.tensor([[0, 0, 0, -0.25, 3.125], [0, 0.5, 0, 0.875, 0]]))


def test_a_completion_terminates_with_eos_and_with_the_limit_alike() -> None:
    """γ on every real step but the last, which is 0 whether it is EOS (the first row) or the limit (the second)."""
    for gamma in (0.9, 1.0):
        expected = torch.tensor([[0, 0, 0, gamma, 0], [0, gamma, gamma, 0, 0]])
        torch.testing.assert_close(by_hand(gamma=gamma).batch.discounts, expected, rtol=0, atol=0)


def test_texts_stand_beside_the_completions() -> None:
    """As many, in a walk of their own from rollout to rollout, each once per epoch."""
    found = policies()
    texts = tiny.demonstrations(tiny.random_rows(5))

    class Texts:
        plan = Plan((5,))

        def batch(self, rows: list[int]) -> Any:
            return texts.select(torch.tensor(rows))

    knobs = dataclasses.replace(KNOBS, ptx_data="a test", ptx_weight=0.5)
    source = dataclasses.replace(source_of(found, 7, COUNTED), texts=Texts())
    drawn = [knobs.draw(source, number, {}).batch for number in (0, 1)]
    assert [len(batch.ptx) for batch in drawn] == [3, 3]
    rows = torch.cat([batch.ptx.rows for batch in drawn]).tolist()
    assert sorted(rows[:5]) == list(range(5))
    assert drawn[0].ptx_weight == 0.5
    assert drawn[0].counts()["ptx"] == drawn[0].ptx.mask.sum()
    part = drawn[0].select(torch.tensor([2]))
    assert torch.equal(part.ptx.tokens, drawn[0].ptx.tokens[2:])
    with pytest.raises(ValueError, match="ptx_weight needs texts: set ptx_data too"):
        Completions(ptx_weight=1.0)


def test_a_missing_eos_costs_its_penalty() -> None:
    """2 off the second score, at its last token; the scores that are told are the reward's own."""
    plain, fined = by_hand(), by_hand(missing_eos_penalty=2.0)
    change = fined.batch.rewards - plain.batch.rewards
    assert change.tolist() == [[0.0] * 5, [0.0, 0.0, 0.0, -2.0, 0.0]]
    assert fined.metrics["objective/scores"] == 2.0
    assert fined.metrics["objective/rlhf_reward"] == plain.metrics["objective/rlhf_reward"] - 1.0
    assert [sample["score"] for sample in fined.samples] == [3.0, 1.0]


def test_every_metric_by_hand() -> None:
    """KLs ¼ and −¾, so −¼ on average; −log-probabilities 1½ and 3¼; scores 3 and 1, so 2 ± 1; tokens 2 and 3."""
    assert by_hand().metrics == pytest.approx(
        {
            "objective/kl": -0.25,
            "objective/entropy": 2.375,
            "objective/non_score_reward": 0.125,
            "objective/rlhf_reward": 2.125,
            "objective/scores": 2.0,
            "objective/scores_std": 1.0,
            "objective/kl_coef": 0.5,
            "objective/length": 2.5,
            "val/num_eos_tokens": 1,
            "rollout": 5,
        }
    )


def test_beta_is_told_as_it_was_given() -> None:
    """Not as its nearest float32."""
    assert turns(policies(), dataclasses.replace(KNOBS, beta=0.05), 1)[0].metrics["objective/kl_coef"] == 0.05


def test_samples_by_hand() -> None:
    first = {"row": 4, "prompt": "a film", "response": "good", "score": 3.0, "kl": 0.25, "ended": True}
    second = {"row": 9, "prompt": "", "response": "bad plot plot", "score": 1.0, "kl": -0.75, "ended": False}
    for keep, expected in ((0, []), (1, [first]), (2, [first, second]), (8, [first, second])):
        assert by_hand(keep_samples=keep).samples == expected


# By loops ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("temperature", "gamma", "penalty"), [(1.0, 1.0, None), (0.7, 0.9, 0.5)])
def test_what_was_sampled_is_what_loops_make_of_it(temperature: float, gamma: float, penalty: float | None) -> None:
    models = policies(temperature, "llama")
    changes = {"temperature": temperature, "gamma": gamma, "missing_eos_penalty": penalty, "rollout": 7}
    changes["max_new_tokens"] = 9
    found = turns(models, dataclasses.replace(KNOBS, **changes), 1)[0]
    batch, kls, ended = found.batch, [], 0
    for i in range(7):
        ids, mask = batch.tokens[i, : batch.lengths[i]].tolist(), batch.mask[i, : batch.lengths[i]].tolist()
        with torch.no_grad():
            ours, theirs = (
                [x.item() for x in tiny.naive_logprobs(p.model, ids, mask, temperature)]
                for p in (models.policy, models.reference)
            )
        words = sum(token >= 3 for token, real in zip(ids, mask, strict=True) if real)
        score = words - (penalty or 0.0) * (ids[-1] != tiny.EOS)
        ended += ids[-1] == tiny.EOS
        kls.append(sum(ours) - sum(theirs))
        for t in range(batch.mask.shape[1]):
            real, last = t < len(ids) and mask[t], t == len(ids) - 1
            assert batch.old_logprobs[i, t].item() == pytest.approx(ours[t] if real else 0.0, abs=1e-5)
            reward = -0.5 * (ours[t] - theirs[t]) + last * score if real else 0.0
            assert batch.rewards[i, t].item() == pytest.approx(reward, abs=1e-5)
            assert batch.discounts[i, t].item() == pytest.approx(gamma if real and not last else 0.0)
    assert 0 < ended < 7
    assert found.metrics["val/num_eos_tokens"] == ended
    assert found.metrics["objective/kl"] == pytest.approx(sum(kls) / 7, abs=1e-5)
    assert [sample["kl"] for sample in found.samples] == pytest.approx(kls, abs=1e-5)


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen", "gemma2"])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_the_first_ratio_is_1(family: str, temperature: float) -> None:
    """Between the sampler, which decodes with a cache, and the policy that learns: on every token and in PPO's loss."""
    models = policies(temperature, family).having(critic=make_scorer("gpt2", double=False))
    knobs = dataclasses.replace(KNOBS, rollout=7, max_new_tokens=12, temperature=temperature)
    batch = turns(models, knobs, 1)[0].batch
    with torch.no_grad():
        logprobs, _ = models.policy.logprobs_and_entropy(batch)
    ratio = (logprobs - batch.old_logprobs).exp()[batch.mask]
    assert len(ratio) > 30
    assert (ratio - 1).abs().max() < 1e-5
    told = gradient(PPO(), models, *prepared(PPO(), models, [batch], {}))
    assert told["val/ratio"] == pytest.approx(1.0, abs=1e-5)
    assert told["policy/approxkl_avg"] < 1e-10
    assert told["policy/clipfrac_avg"] == 0.0


# The controller ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kl", "expected"),
    [(2.0, 0.1), (2.2, 0.101), (1.9, 0.0995), (2.4, 0.102), (8.0, 0.102), (1.6, 0.098), (0.5, 0.098), (-3.0, 0.098)],
)
def test_the_controller_by_hand(kl: float, expected: float) -> None:
    """Target 2, 10 completions of a horizon of 100: a tenth of KL/2 − 1, which is clipped to a fifth."""
    knobs = dataclasses.replace(KNOBS, kl_target=2.0, kl_horizon=100)
    assert next_beta(0.1, kl, 10, knobs) == pytest.approx(expected, abs=1e-12)
    assert next_beta(0.1, kl, 10, KNOBS) == 0.1


def test_beta_goes_from_turn_to_turn() -> None:
    """Horizon 6 and 3 completions a turn: half of the clipped error. Each turn is priced at the β that it came with."""
    knobs = dataclasses.replace(KNOBS, kl_target=0.1, kl_horizon=6)
    found = turns(policies(), knobs, 3)
    betas = [0.5]
    for turn in found:
        kl, completions = turn.metrics["objective/kl"], len(turn.batch)
        assert turn.metrics["objective/kl_coef"] == pytest.approx(betas[-1])
        assert turn.metrics["objective/non_score_reward"] == pytest.approx(-betas[-1] * kl)
        betas.append(betas[-1] * (1 + max(-0.2, min(0.2, kl / 0.1 - 1)) * completions / 6))
        assert turn.state == {"beta": pytest.approx(betas[-1])}
    assert len(set(betas)) == 4
    assert [turn.state for turn in turns(policies(), KNOBS, 2)] == [{"beta": 0.5}] * 2


# Turns -------------------------------------------------------------------------------------------------------------


def test_a_turn_is_the_same_whether_earlier_ones_were_drawn_or_not() -> None:
    """Which is all that resuming needs: the turn's number and β."""
    knobs = dataclasses.replace(KNOBS, kl_target=0.1, kl_horizon=6)
    found = turns(policies(), knobs, 5)
    for start in (1, 3):
        (again,) = turns(policies(), knobs, 1, start, state=found[start - 1].state)
        assert_same(again, found[start])
    (other,) = turns(policies(), knobs, 1, 3, state={"beta": 0.4})
    assert torch.equal(other.batch.tokens, found[3].batch.tokens)
    assert not torch.equal(other.batch.rewards, found[3].batch.rewards)


def test_completions_are_of_the_policy_as_it_is_when_asked() -> None:
    models = policies()
    stream = draws(KNOBS, source_of(models, 7, COUNTED))
    next(stream)
    with torch.no_grad():
        for name, parameter in models.policy.parameters().items():
            parameter.copy_(models.reference.parameters()[name])
    found = next(stream)
    assert found.metrics["objective/kl"] == pytest.approx(0.0, abs=1e-5)
    assert_same(found, *turns(models.having(policy=models.reference), KNOBS, 1, 1))


# Log-probabilities of whom ----------------------------------------------------------------------------------------


def test_a_sampler_that_is_not_exact_is_not_believed() -> None:
    """Three tensors of the same tokens: the sampler's, the policy's own, and the reference's. The policy's are what the
    KL and its price are taken of."""
    models = policies()
    source = source_of(models, 7, COUNTED)
    (exact,) = turns(models, KNOBS, 1)
    found = KNOBS.draw(dataclasses.replace(source, sampler=Foreign(models.policy)), 0, {})
    batch, mask = found.batch, found.batch.mask
    assert torch.equal(batch.tokens, exact.batch.tokens)
    with torch.no_grad():
        assert torch.equal(batch.old_logprobs, models.policy.logprobs(batch))
        assert torch.equal(batch.ref_logprobs, models.reference.logprobs(batch))
    off = batch.sampler_logprobs - batch.old_logprobs
    torch.testing.assert_close(off, torch.where(mask, -0.25, 0.0), rtol=0, atol=1e-5)
    torch.testing.assert_close(batch.rewards, exact.batch.rewards, rtol=0, atol=1e-5)
    own = {name: value for name, value in found.metrics.items() if not name.startswith("sampler/")}
    assert own == pytest.approx(exact.metrics, abs=1e-5)


def test_another_sampler_is_corrected() -> None:
    """Each token is e^¼ as likely as the sampler says; the policy's own sampler differs in roundings alone."""
    models = policies()
    source = source_of(models, 7, COUNTED)
    foreign = dataclasses.replace(source, sampler=Foreign(models.policy))
    plain = KNOBS.draw(foreign, 0, {})
    assert plain.batch.weights is None
    assert plain.metrics["sampler/ratio_max"] == pytest.approx(math.exp(0.25), rel=1e-4)
    assert "sampler/kept" not in plain.metrics
    token = dataclasses.replace(KNOBS, sampler_correction="truncate")
    fixed, mask = token.draw(foreign, 0, {}), plain.batch.mask
    lengths = mask.sum(1, keepdim=True)
    torch.testing.assert_close(fixed.batch.weights, torch.where(mask, math.exp(0.25), 1.0), rtol=1e-4, atol=0)
    whole = dataclasses.replace(token, correction_level="sequence", correction_high=math.inf).draw(foreign, 0, {})
    torch.testing.assert_close(whole.batch.weights, torch.where(mask, (lengths / 4).exp(), 1.0), rtol=1e-4, atol=0)
    (off,), (exact,) = turns(models, KNOBS, 1), turns(models, token, 1)
    assert off.batch.weights is None
    assert not [name for name in off.metrics if name.startswith("sampler/")]
    assert (exact.metrics["sampler/kept"], exact.metrics["sampler/limited"]) == (1, 0)
    torch.testing.assert_close(exact.batch.weights, torch.ones(mask.shape), rtol=0, atol=1e-4)
    for name in ("tokens", "mask", "sampler_logprobs", "discounts"):
        assert torch.equal(getattr(exact.batch, name), getattr(off.batch, name))


def test_without_a_price_the_reference_is_not_asked() -> None:
    """There is none: neither of its numbers, nor a KL, and a reward is the score."""
    knobs = dataclasses.replace(KNOBS, beta=0.0)
    assert (KNOBS.needs, knobs.needs) == (("reward", "reference"), ("reward",))
    models = policies()
    (found,), (priced,) = turns(Models(policy=models.policy), knobs, 1), turns(models, KNOBS, 1)
    batch = found.batch
    assert torch.equal(batch.tokens, priced.batch.tokens)
    assert batch.ref_logprobs is None
    scores = [sample["score"] for sample in found.samples]
    assert batch.rewards.tolist() == [
        [score * (t == length - 1) for t in range(batch.tokens.shape[1])]
        for score, length in zip(scores, batch.lengths.tolist(), strict=True)
    ]
    assert priced.metrics.keys() - found.metrics.keys() == {"objective/kl"}
    assert found.metrics["objective/rlhf_reward"] == found.metrics["objective/scores"] == pytest.approx(sum(scores) / 3)
    assert found.metrics["objective/non_score_reward"] == 0.0
    assert [sample.keys() for sample in found.samples] == [{"row", "prompt", "response", "score", "ended"}] * 3
    assert found.state == {"beta": 0.0}
    with pytest.raises(LookupError, match="these models have no reference"):
        turns(Models(policy=models.policy), KNOBS, 1)


# Held-out prompts --------------------------------------------------------------------------------------------------


def test_held_out_prompts_are_answered_once_and_always_alike() -> None:
    """The loss is the price that the run began with times the KL, less the score that counts."""
    knobs = dataclasses.replace(KNOBS, kl_target=0.1, kl_horizon=6, missing_eos_penalty=2.0, max_new_tokens=12)
    source = source_of(policies(), 9, COUNTED)
    found = knobs.evaluate(source, 6)
    assert knobs.evaluate(source, 6) == found
    ended = found["val/num_eos_tokens"] / 6
    assert 0 < ended < 1
    fined = found["objective/scores"] - 2 * (1 - ended)
    assert found["loss"] == pytest.approx(0.5 * found["objective/kl"] - fined)
    assert found["objective/kl_coef"] == 0.5
    drawn = dataclasses.replace(knobs, rollout=6).draw(source, 0, {})
    assert found == {"loss": -drawn.metrics["objective/rlhf_reward"]} | {
        name: value for name, value in drawn.metrics.items() if name != "rollout"
    }


# Rewards -----------------------------------------------------------------------------------------------------------


def test_a_reward_sees_prompts_texts_and_columns_of_its_rows() -> None:
    seen: list[tuple] = []

    def mine(prompts: Any, responses: Any, number: Any) -> list[int]:
        seen.extend(zip(prompts, responses, number, strict=True))
        return number

    found = turns(policies(), dataclasses.replace(KNOBS, rollout=7), 1, reward=function_reward(mine))[0]
    rows = tiny.prompt_rows(7)
    assert {(prompt, number) for prompt, _, number in seen} == {(row["prompt"], row["number"]) for row in rows}
    assert [number for *_, number in seen] == found.batch.rows.tolist()
    assert found.metrics["objective/scores"] == 3.0
    for (_, response, _), ids, mask in zip(seen, found.batch.tokens, found.batch.mask, strict=True):
        assert response.split() == [tiny.WORDS[token - 3] for token in ids[mask].tolist() if token >= 3]


def test_conversations_are_sampled_from_where_the_assistant_speaks() -> None:
    """And reach the reward as messages, their answers as text; as messages where it takes `completions`."""
    models = policies()
    models.policy.tokenizer.chat_template = "<s> {% for m in messages %}{{ m['content'] + ' ' }}{% endfor %}is"
    talk = [{"role": "user", "content": "the film"}]
    prompts = prompts_of(models.policy, [{"prompt": talk}] * 2)
    seen: list[Any] = []

    def by_position(prompts: Any, responses: Any) -> list[float]:
        seen.append((prompts, responses))
        return [0.0, 1.0]

    def by_keyword(prompts: Any, completions: Any) -> list[float]:
        seen.append((prompts, completions))
        return [0.0, 1.0]

    for function in (by_position, by_keyword):
        found = KNOBS.draw(source_of(models, prompts, function_reward(function)), 0, {})
    words = [3 + tiny.WORDS.index(word) for word in ("the", "film", "is")]
    assert found.batch.tokens[:, :4].tolist() == [[tiny.BOS, *words]] * 2
    assert not found.batch.mask[:, :4].any()
    (first, responses), (second, completions) = seen
    assert first == second == [talk, talk]
    assert completions == [[{"role": "assistant", "content": response}] for response in responses]
    assert [sample["prompt"] for sample in found.samples] == [talk, talk]


@pytest.mark.parametrize("fault", ["raises", "nan", "count"])
def test_a_reward_that_is_amiss_leaves_its_rollout_behind(fault: str) -> None:
    """Row 4 is amiss. Of a wrong count no row is to blame, so all three are named."""

    def mine(prompts: Any, responses: Any, number: Any) -> list[float]:
        if fault == "raises" and 4 in number:
            raise ZeroDivisionError("four")
        if fault == "count" and 4 in number:
            return [1.0]
        return [NAN if n == 4 and fault == "nan" else 1.0 for n in number]

    turn = next(turn for turn in range(3) if 4 in rollout_rows(Plan((7,)), 3, 0, turn))
    rows = rollout_rows(Plan((7,)), 3, 0, turn)
    with pytest.raises(RolloutError, match=f"row(s {rows[0]}, {rows[1]}, {rows[2]}| 4\\b)") as caught:
        turns(policies(), KNOBS, 1, turn, reward=function_reward(mine))
    expected = turns(policies(), KNOBS, 1, turn)[0].samples
    assert caught.value.rollout == [{k: s[k] for k in ("row", "prompt", "response")} for s in expected]


# Knobs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"rollout": 0}, "rollout must be at least 1, not 0"),
        ({"max_new_tokens": 0}, "max_new_tokens must be at least 1, not 0"),
        ({"kl_horizon": 0}, "kl_horizon must be at least 1, not 0"),
        ({"temperature": 0.0}, "temperature must be at least 0.0001, not 0.0"),
        ({"temperature": NAN}, "temperature must be at least 0.0001, not nan"),
        ({"beta": -0.1}, "beta must be at least 0, not -0.1: it would reward leaving the reference"),
        ({"beta": NAN}, "beta must be at least 0, not nan"),
        ({"kl_target": 0.0}, "kl_target must be above 0, not 0.0"),
        ({"kl_horizon": 5}, "kl_horizon only applies when beta is adaptive: set kl_target too"),
        ({"kl_target": 1.0, "beta": 0.0}, "an adaptive beta that starts at 0 stays there"),
        ({"gamma": 1.1}, r"gamma must lie in \[0, 1\], not 1.1"),
        ({"gamma": -0.1}, r"gamma must lie in \[0, 1\], not -0.1"),
        ({"missing_eos_penalty": -1.0}, "missing_eos_penalty must be at least 0, not -1.0"),
        ({"keep_samples": -1}, "keep_samples must be at least 0, not -1"),
    ],
)
def test_knobs_that_make_no_sense_are_refused(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Completions(**knobs)
    assert Completions(beta=0.0, gamma=0.0, missing_eos_penalty=0.0, keep_samples=0)
