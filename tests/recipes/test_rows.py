"""A run's data as its method reads them."""

from typing import Any

import pytest
import tiny
import torch

from burnish.algorithms.dpo import DPO
from burnish.algorithms.ppo import PPO
from burnish.algorithms.reward_model import RewardModel
from burnish.algorithms.sft import SFT
from burnish.algorithms.table import ALGORITHMS
from burnish.config import Settings
from burnish.experience.completions import Completions
from burnish.policies.language import LanguagePolicy
from burnish.recipes.rows import BUILTIN, READERS, evaluation_rows, first_responses, tokenised
from burnish.run import UserError

OWN = {"sft": SFT(), "dpo": DPO(), "reward": RewardModel(), "ppo": PPO()}


@pytest.fixture(scope="module")
def policy() -> LanguagePolicy:
    return tiny.make_policy("gpt2")


def settings(max_new_tokens: int | None = None, **options: Any) -> Settings:
    experience = None if max_new_tokens is None else Completions("gold", max_new_tokens=max_new_tokens)
    return Settings(**{"data": "rows", "max_length": 40, "experience": experience} | options)


def test_every_kind_of_data_has_a_reader_and_a_built_in_set() -> None:
    assert BUILTIN.keys() == READERS.keys() == {entry.data for entry in ALGORITHMS.values()}
    assert OWN.keys() == ALGORITHMS.keys()


@pytest.mark.parametrize("name", ["sft", "dpo", "reward", "ppo"])
def test_rows_in_memory_are_read_as_the_method_needs_them(name: str, policy: LanguagePolicy) -> None:
    chosen = settings(4 if name == "ppo" else None)
    given = tiny.text_rows(5) if name == "sft" else tiny.pair_rows(5)
    rows = tokenised(OWN[name], chosen, policy, given, "train")
    assert len(rows) == 5
    first = given[0]["text" if name == "sft" else "prompt"]
    ids = [tiny.BOS, *(3 + tiny.WORDS.index(word) for word in first.split())]
    if name == "ppo":
        assert rows.ids[0] == ids
        assert rows.columns == {key: [row[key] for row in given] for key in ("chosen", "rejected")}
    else:
        assert rows.batch([0]).tokens.flatten(0, -2)[0, : len(ids)].tolist() == ids
    assert rows.describe().startswith("(in memory)")


@pytest.mark.parametrize(
    ("max_length", "max_new_tokens", "longest"),
    [(40, None, 40), (99, None, tiny.CONTEXT), (40, 10, 30), (99, 10, tiny.CONTEXT - 10), (99, 47, 1)],
)
def test_prompts_leave_room_for_completions(
    max_length: int, max_new_tokens: int | None, longest: int, policy: LanguagePolicy
) -> None:
    text = "good film " * 40
    algorithm: Any = SFT() if max_new_tokens is None else PPO()
    given = [{"text": text} if max_new_tokens is None else {"prompt": text}]
    rows = tokenised(algorithm, settings(max_new_tokens, max_length=max_length), policy, given, "train")
    assert (rows.batch([0]).lengths.tolist() if max_new_tokens is None else [len(rows.ids[0])]) == [longest]


def test_completions_as_long_as_the_context_are_refused(policy: LanguagePolicy) -> None:
    with pytest.raises(UserError, match="max_new_tokens 48 leaves no room for a prompt in the model's context of 48"):
        tokenised(PPO(), settings(48, max_length=99), policy, tiny.prompt_rows(2), "train")


def test_a_limit_that_the_user_gave_is_told_once(policy: LanguagePolicy, capfd: pytest.CaptureFixture[str]) -> None:
    for max_length, part, told in (
        (99, "train", "--max-length 99: the model's context, 48 tokens, is the limit\n"),
        (99, "validation", ""),
        (40, "train", ""),
        (Settings.max_length, "train", ""),
    ):
        tokenised(SFT(), settings(max_length=max_length), policy, tiny.text_rows(2), part)
        assert capfd.readouterr().err == told
    tokenised(SFT(), settings(max_length=99, quiet=True), policy, tiny.text_rows(2), "train")
    assert capfd.readouterr().err == ""


def test_evaluation_is_on_what_was_given_or_on_the_built_in_validation_part(policy: LanguagePolicy) -> None:
    given = tiny.prompt_rows(3)
    assert evaluation_rows(PPO(), settings(4), policy, None) is None
    for data in ("rows", "builtin"):
        assert len(evaluation_rows(PPO(), settings(4, data=data), policy, given)) == 3
    held = evaluation_rows(PPO(), settings(4, data="builtin"), policy, None)
    assert held.describe().startswith("the built-in prompts, validation")
    assert held.prompts == list(BUILTIN["prompts"]("validation")["prompt"])


def test_first_responses_are_the_chosen_ones() -> None:
    pairs = tiny.random_pairs(4, seed=3)
    found, expected = first_responses(tiny.preferences(pairs)), tiny.demonstrations([chosen for chosen, _ in pairs])
    for i, (ids, mask) in enumerate(chosen for chosen, _ in pairs):
        assert found.tokens[i, : len(ids)].tolist() == ids
        assert found.mask[i].nonzero().flatten().tolist() == [t for t, real in enumerate(mask) if real]
    assert torch.equal(found.lengths, expected.lengths)
    assert torch.equal(found.rows, expected.rows)
