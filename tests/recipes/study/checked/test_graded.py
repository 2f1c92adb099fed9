"""Grading a random model: its answers drawn again one by one, with the right ones chosen among them."""

import math
from pathlib import Path

import pytest

from burnish.data import sources
from burnish.policies.language.policy import LanguagePolicy, load_policy
from burnish.policies.language.sampler import sample
from burnish.recipes.study.checked.graded import AT_ONCE, Exam, Graded, graded, held_out, with_options
from burnish.recipes.study.checked.pupil import born

from .worlds import SHAPE

SEED, SAMPLES, TOKENS = 3, 400, 3
PROMPTS = ("reverse a b ->", "sort 2 1 ->", "1 + 1 =")


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> LanguagePolicy:
    return load_policy(born(tmp_path_factory.mktemp("models") / "born", SHAPE, 0), "cpu")


def test_answers_are_counted_by_prompt_and_only_if_they_have_ended(policy: LanguagePolicy) -> None:
    """Of 1,200 answers of at most 3 tokens, about one in 58 of each length ends; the answer to each prompt is the first
    text of letters that ended. More answers than are sampled at once."""
    assert len(PROMPTS) * SAMPLES > AT_ONCE
    known = policy.tokenizer
    answers, right, lengths = [], [], []
    for i, prompt in enumerate(PROMPTS):
        ids = known(prompt, add_special_tokens=False)["input_ids"]
        streams = [i * SAMPLES + k for k in range(SAMPLES)]
        found = sample(policy, [ids] * SAMPLES, seed=SEED, max_new_tokens=TOKENS, streams=streams)
        lengths += [len(row) for row in found.tokens]
        texts = [known.decode([t for t in row if t != known.eos_token_id]) for row in found.tokens]
        ended = [row[-1] == known.eos_token_id for row in found.tokens]
        answers.append(next(text for text, end in zip(texts, ended, strict=True) if end and text.isalpha()))
        right.append(sum(t.split() == answers[i].split() and e for t, e in zip(texts, ended, strict=True)))
    result = graded(policy, Exam(PROMPTS, answers, TOKENS, SAMPLES), SEED)
    assert result.right == tuple(right)
    assert all(count > 0 for count in right)
    assert result.accuracy == pytest.approx(sum(right) / len(lengths))
    assert result.length == pytest.approx(sum(lengths) / len(lengths))
    assert result.entropy == pytest.approx(math.log(len(known)), abs=0.05)  # its weights are small


def test_held_out_prompts_are_those_of_the_task_and_none_of_its_training() -> None:
    task = "task:sort:numbers=3"
    prompts, answers = held_out(task, 20, 0)
    assert len(set(prompts)) == 20
    assert answers[0].split() == sorted(prompts[0].split()[1:-1])
    assert not set(prompts) & set(sources.load(with_options(task, rows=200, seed=1))["prompt"])


def test_options_are_added_to_a_task() -> None:
    assert with_options("task:sort", rows=3) == "task:sort:rows=3"
    assert with_options("task:sort:numbers=3", rows=3, seed=1) == "task:sort:numbers=3,rows=3,seed=1"


def test_grades_are_read_as_they_were_written(tmp_path: Path) -> None:
    found = {"samples": 4, "right": [1, 3], "length": 2.5, "entropy": 0.5}
    assert Graded.of(found) == Graded(4, (1, 3), 2.5, 0.5)
    assert Graded.of(found).accuracy == 0.5
