"""What `--reward` may name."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import tiny
from tiny_scorers import make_scorer, naive_score

from burnish.data.prompts import read_prompts
from burnish.data.sources import load
from burnish.experience.language.sampling import completed_rows
from burnish.policies.interface import Sampled
from burnish.policies.language.adapters import Lora
from burnish.policies.language.policy import LanguagePolicy, load_policy
from burnish.policies.language.scorer import load_scorer
from burnish.recipes.gold import gold_judge
from burnish.recipes.train.rewards import is_scorer, resolve_reward, reward_folder
from burnish.rewards.builtin import TextReward
from burnish.rewards.completed import Completed, checked_scores
from burnish.rewards.weighted import Weighted
from burnish.run import UserError

RESPONSES = [[3, 5, tiny.EOS], [4, 4], [tiny.EOS]]


@pytest.fixture(scope="module")
def policy() -> LanguagePolicy:
    return tiny.make_policy(double=False)


@pytest.fixture
def completed(policy: LanguagePolicy) -> Completed:
    """`a film` and `the plot` and `a`, answered with `good film`, `bad bad` and nothing."""
    rows = [{"prompt": "a film", "answer": 1}, {"prompt": "the plot", "answer": 2}, {"prompt": "a", "answer": 3}]
    prompts = read_prompts(load(rows), policy.tokenizer, 20, "rows")
    sampled = Sampled(RESPONSES, [[0.0] * len(ids) for ids in RESPONSES], [True, False, True])
    return completed_rows(policy, prompts, [0, 1, 2], sampled)


def test_the_built_in_ones(policy: LanguagePolicy, completed: Completed) -> None:
    assert completed.texts == ["a film good film", "the plot bad bad", "a"]
    gold = resolve_reward("gold", policy)
    assert checked_scores(gold, completed) == gold_judge().score(completed.texts).tolist()
    good, bad, nothing = checked_scores(resolve_reward("lexicon", policy), completed)
    assert good > nothing > bad
    assert nothing == 0.0


@pytest.mark.parametrize("family", ["gpt2", "cohere"])
@pytest.mark.parametrize("place", [".", "model"])
def test_a_reward_models_folder_scores_the_very_ids(
    policy: LanguagePolicy, completed: Completed, tmp_path: Path, place: str, family: str
) -> None:
    """As `save_pretrained` writes it, and as a run folder holds it. Its padding token is no other tokenizer.

    Also of Cohere, of which transformers has no sequence classifier."""
    scorer = make_scorer(family, double=False)
    scorer.centre(0.25)
    (tmp_path / place).mkdir(exist_ok=True)
    scorer.save(tmp_path / place)
    scores = checked_scores(resolve_reward(str(tmp_path), policy), completed)
    prompts = [[tiny.BOS, 7, 5], [tiny.BOS, 8, 6], [tiny.BOS, 7]]
    expected = [naive_score(scorer.model, p + r).item() - 0.25 for p, r in zip(prompts, RESPONSES, strict=True)]
    assert scores == pytest.approx(expected, abs=1e-5)
    assert is_scorer(tmp_path / place)


def test_several_folders_are_an_ensemble(policy: LanguagePolicy, completed: Completed, tmp_path: Path) -> None:
    """Of two reward models with centres of their own, which alone would be moved by them."""
    alone = []
    for name, seed in (("a", 1), ("b", 2)):
        scorer = make_scorer(seed=seed, double=False)
        scorer.centre(0.5 * seed)
        scorer.save(tmp_path / name)
        alone.append(checked_scores(resolve_reward(str(tmp_path / name), policy), completed))
    both = f"{tmp_path / 'a'},{tmp_path / 'b'}"
    means = [(one + other) / 2 for one, other in zip(*alone, strict=True)]
    assert checked_scores(resolve_reward(both, policy), completed) == pytest.approx(means)
    least = [min(pair) for pair in zip(*alone, strict=True)]
    assert checked_scores(resolve_reward(f"minimum:{both}", policy), completed) == least
    careful = [mean - abs(one - other) / 4 for mean, one, other in zip(means, *alone, strict=True)]
    assert checked_scores(resolve_reward(f"uncertainty=0.5:{both}", policy), completed) == pytest.approx(careful)
    assert reward_folder(f"minimum:{both}") == str(tmp_path / "a")
    assert (reward_folder("gold"), reward_folder(None)) == ("gold", "")
    with pytest.raises(UserError, match=r"--reward .*c is .*give the folder of a finished `burnish reward` run"):
        resolve_reward(f"{tmp_path / 'a'},{tmp_path / 'c'}", policy)


def test_a_reward_model_of_another_vocabulary_is_refused(completed: Completed, tmp_path: Path) -> None:
    make_scorer().save(tmp_path)
    other = tiny.make_policy(double=False)
    other.tokenizer = tiny.make_tokenizer(reversed(tiny.WORDS))
    with pytest.raises(UserError, match="and the policy have different tokenizers"):
        resolve_reward(str(tmp_path), other)


def test_a_language_model_is_no_reward_model(policy: LanguagePolicy, tmp_path: Path) -> None:
    """It would be given a random head, and the policy would learn to please it."""
    tiny.save_model(tmp_path)
    assert not is_scorer(tmp_path)
    with pytest.raises(UserError, match=r"is a model but not a reward model: train one with `burnish reward"):
        resolve_reward(tmp_path, policy)


def test_folders_without_a_model(policy: LanguagePolicy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="is a folder without a model"):
        resolve_reward(str(tmp_path), policy)
    (tmp_path / "config.yaml").touch()
    with pytest.raises(UserError, match="is an unfinished run"):
        resolve_reward(str(tmp_path), policy)
    make_scorer().save(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert not is_scorer("")


def test_functions_by_name_and_in_python(policy: LanguagePolicy, completed: Completed) -> None:
    def mine(prompts: Any, responses: Any, answer: Any) -> list[int]:
        return answer

    assert checked_scores(resolve_reward(mine, policy), completed) == [1.0, 2.0, 3.0]
    assert resolve_reward("operator:concat", policy).name == "operator:concat"
    made = TextReward("made", lambda texts: [0.0] * len(texts))
    assert resolve_reward(made, policy) is made


def test_anything_else_lists_the_possibilities(policy: LanguagePolicy) -> None:
    everything = (
        r"give a reward model's folder \(several with commas\), 'gold', 'lexicon', a checker "
        r"\(match, number, regex, format, json-schema, math, code\), or module:function"
    )
    with pytest.raises(UserError, match=f"--reward helpful is neither a folder nor a known reward: {everything}$"):
        resolve_reward("helpful", policy)
    with pytest.raises(UserError, match=f"{everything}, as in rewards:score$"):
        resolve_reward("src/rewards.py", policy)
    with pytest.raises(UserError, match=f"the reward is a int: {everything}, or a function"):
        resolve_reward(7, policy)


def test_an_adapter_is_a_reward_model_where_it_gives_a_score(
    policy: LanguagePolicy, completed: Completed, tmp_path: Path
) -> None:
    """Also one of others, beside which no configuration of a model lies; a policy's adapter is none."""
    base = tiny.save_model(tmp_path / "base")
    scorer = load_scorer(base, lora=Lora(2))
    scorer.save(tmp_path / "run" / "model")
    expected = pytest.approx(scorer.scores(completed.batch).tolist(), abs=1e-5)
    for place in ("run", "run/model"):
        assert checked_scores(resolve_reward(str(tmp_path / place), policy), completed) == pytest.approx(
            expected, abs=1e-5
        )
    (tmp_path / "run" / "model" / "config.json").unlink()
    assert is_scorer(tmp_path / "run" / "model")
    assert checked_scores(resolve_reward(str(tmp_path / "run"), policy), completed) == expected
    load_policy(base, lora=Lora(2)).save(tmp_path / "policy")
    assert not is_scorer(tmp_path / "policy")
    with pytest.raises(UserError, match="is a model but not a reward model"):
        resolve_reward(str(tmp_path / "policy"), policy)


def test_checkers_alone_and_in_sums(policy: LanguagePolicy, completed: Completed) -> None:
    """The responses are `good film`, `bad bad` and nothing."""
    rows = {"answer": ["Good film.", "x", "y"], "task": ["sort"] * 3, "metadata": [None] * 3}
    given = dataclasses.replace(completed, columns=rows)
    assert checked_scores(resolve_reward("match", policy), given) == [1, 0, 0]
    assert checked_scores(resolve_reward("task", policy), given) == [0, 0, 0]  # a task's answer is not normalised
    both = resolve_reward("match:1,regex:bad{1,2}:-0.5", policy)
    assert isinstance(both, Weighted)
    assert both.keys == ("match", "regex")
    assert checked_scores(both, given) == [1, -0.5, 0]
    assert isinstance(resolve_reward("lexicon,match", policy), Weighted)
    for text in ("match", "match:1,gold:2", "task"):
        assert not is_scorer(reward_folder(text))


@pytest.mark.parametrize(
    ("reward", "said"),
    [
        ("numbr", "did you mean number"),
        ("macth:answer", "no module macth .*; did you mean math or match"),
        ("match,", "has an empty part"),
        ("match:1,nothing:2", "--reward nothing is neither a folder nor a known reward"),
    ],
)
def test_rewards_that_do_not_exist(policy: LanguagePolicy, reward: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        resolve_reward(reward, policy)
