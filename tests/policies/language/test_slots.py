"""Rows that are decoded together: who enters, who is read with whom, and that nobody else is computed."""

from typing import Any

import families
import pytest
import tiny
import torch

from burnish.ends import Ends
from burnish.policies.language.policy import LanguagePolicy
from burnish.policies.language.sampler import sample
from burnish.policies.language.slots import Row, groups, next_rows, places

LONG, SHORT = [0, 5, 6, 7, 8, 9, 10], [0, 4]


def rows(*prompts: list[int]) -> list[Row]:
    return [Row(prompt, 5, i) for i, prompt in enumerate(prompts)]


def shapes_read(policy: LanguagePolicy) -> list[tuple[int, int]]:
    """Filled with the shape of the ids of every pass."""
    shapes: list[tuple[int, int]] = []

    def note(module: Any, args: Any, kwargs: Any) -> None:
        shapes.append(tuple(kwargs["input_ids"].shape))

    policy.model.base_model.register_forward_pre_hook(note, with_kwargs=True)
    return shapes


def test_the_last_rows_move_to_the_places_of_those_that_ended() -> None:
    """Of 0 1 2 3 4, rows 1 and 2 ended: 3 and 4 take their places, and 0 stays."""
    assert places([False, True, True, False, False]) == [0, 3, 4]
    assert places([True, False, False]) == [2, 1]
    assert places([False, False, True]) == [0, 1]


def test_a_prompt_enters_with_all_of_its_rows_or_none() -> None:
    """Of A A A B B B, 4 places hold the three of A; 2 places hold two, as there is no other prompt; 6 hold all."""
    waiting = rows(*[LONG] * 3, *[SHORT] * 3)
    assert [len(next_rows(waiting, free)[0]) for free in (4, 2, 3, 6, 9)] == [3, 2, 3, 6, 6]
    entering, left = next_rows(waiting, 4)
    assert [*entering, *left] == waiting


def test_prompts_are_read_together_where_little_is_padding() -> None:
    """On a CPU at most 2,048 tokens, of which 64 are padding: 40 and 30 waste 10, 40 and 30 and thrice 20 waste 70."""
    waiting = rows([3] * 40, [3] * 30, [3] * 20, [4] * 20, [5] * 20)
    cpu = torch.device("cpu")
    assert [len(group) for group in groups(waiting, cpu, True)] == [4, 1]
    assert [len(group) for group in groups(waiting, cpu, False)] == [5]
    many = rows(*[[i, *[3] * 511] for i in range(6)])
    assert [len(group) for group in groups(many, cpu, True)] == [4, 2]
    assert [len(group) for group in groups(rows(*[[3] * 512] * 9), cpu, True)] == [9]  # one prompt
    assert list(groups([], cpu, True)) == []


@pytest.mark.parametrize("family", ["llama", "mistral"])
def test_a_prompt_is_read_once_for_all_of_its_completions(family: str) -> None:
    """Two prompts four times each, not side by side, are two rows of the first pass, and eight of the others."""
    policy = tiny.make_policy(family)
    policy.ends = Ends((), None)
    shapes = shapes_read(policy)
    found = sample(policy, [LONG, SHORT] * 4, seed=0, max_new_tokens=3)
    assert shapes == [(2, 7), (8, 1), (8, 1)]
    for i, ids in enumerate(found.tokens):
        assert sample(policy, [[LONG, SHORT][i % 2]], streams=[i], seed=0, max_new_tokens=3).tokens == [ids]


def test_nothing_is_computed_for_what_ended_and_waiting_rows_enter() -> None:
    """Every token read is one of a prompt or of a completion: the last of each is not read. The batch stays full while
    rows wait."""
    policy = tiny.make_policy("llama")
    shapes = shapes_read(policy)
    prompts = [[0, 3 + i // 15, 3 + i % 15] for i in range(40)]
    found = sample(policy, prompts, seed=0, max_new_tokens=12, rows_at_once=6)
    prefills, steps = [s for s in shapes if s[1] > 1], [s for s in shapes if s[1] == 1]
    assert sum(n for n, _ in steps) == sum(len(ids) - 1 for ids in found.tokens)
    assert sum(n for n, _ in prefills) == 40
    assert max(n for n, _ in steps) <= 6
    in_parts = sum(max(len(ids) for ids in found.tokens[i : i + 6]) - 1 for i in range(0, 40, 6))
    assert len(steps) < in_parts


@pytest.mark.filterwarnings("ignore:.*which is right but slow", "ignore:completions end at 16 tokens")
@pytest.mark.parametrize("family", ["bamba", "falcon_h1", "lfm2", "mamba", "llama4_text", "bloom", "rwkv", "phi3"])
def test_other_caches_give_a_row_the_same_whoever_is_beside_it(family: str) -> None:
    policy = LanguagePolicy(families.make_model(family), tiny.make_tokenizer())
    prompts = [[0], LONG, SHORT, [0, 11, 3], LONG, [0, 3, 3, 3], SHORT]
    together = sample(policy, prompts, seed=5, max_new_tokens=8)
    few = sample(policy, prompts, seed=5, max_new_tokens=8, rows_at_once=3)
    assert few.tokens == together.tokens
    for i, prompt in enumerate(prompts):
        alone = sample(policy, [prompt], streams=[i], seed=5, max_new_tokens=8)
        assert alone.tokens == [together.tokens[i]]
        for other in (together, few):
            assert alone.logprobs[0] == pytest.approx(other.logprobs[i], abs=1e-4)
