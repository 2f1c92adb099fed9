"""A run's data as its method reads them."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import published
import pytest
import tiny
import torch

from burnish.algorithms.dpo import DPO
from burnish.algorithms.hinge import Hinge
from burnish.algorithms.kto import KTO
from burnish.algorithms.ppo import PPO
from burnish.algorithms.reward_model import RewardModel
from burnish.algorithms.sft import SFT
from burnish.algorithms.table import LANGUAGE
from burnish.algorithms.table import load as load_method
from burnish.cli import main
from burnish.config import Settings
from burnish.data.sources import load
from burnish.experience.language.completions import Completions
from burnish.policies.language.policy import LanguagePolicy, load_policy
from burnish.recipes.train.rows import BUILTIN, READERS, evaluation_rows, first_responses, streamed, tokenised
from burnish.run import UserError, read_jsonl

OWN: dict[str, Any] = {"sft": SFT(), "dpo": DPO(), "reward": RewardModel(), "ppo": PPO(), "kto": KTO()}


@pytest.fixture(scope="module")
def policy() -> LanguagePolicy:
    return tiny.make_policy("gpt2")


def settings(max_new_tokens: int | None = None, **options: Any) -> Settings:
    experience = None if max_new_tokens is None else Completions("gold", max_new_tokens=max_new_tokens)
    return Settings(**{"data": "rows", "max_length": 40, "experience": experience} | options)


def test_every_kind_of_data_has_a_reader_and_a_built_in_set() -> None:
    assert BUILTIN.keys() == READERS.keys() == {load_method(name).data for name in LANGUAGE}
    assert {load_method(name).data for name in OWN} == READERS.keys()


@pytest.mark.parametrize("name", OWN)
def test_rows_in_memory_are_read_as_the_method_needs_them(name: str, policy: LanguagePolicy) -> None:
    chosen = settings(4 if name == "ppo" else None)
    given = tiny.text_rows(5) if name == "sft" else tiny.pair_rows(5)
    rows = tokenised(OWN[name], chosen, policy, given, "train")
    assert len(rows) == (10 if name == "kto" else 5)  # a pair is a good answer and a bad one
    first = given[0]["text" if name == "sft" else "prompt"]
    ids = [tiny.BOS, *(3 + tiny.WORDS.index(word) for word in first.split())]
    if name == "ppo":
        assert rows.ids[0] == ids
        assert rows.columns == {key: [row[key] for row in given] for key in ("chosen", "rejected")}
    else:
        assert rows.batch([0]).tokens.flatten(0, -2)[0, : len(ids)].tolist() == ids
    assert rows.describe().startswith("(in memory)")


def test_columns_that_a_method_does_not_use_are_refused(policy: LanguagePolicy) -> None:
    soft = [row | {"confidence": 0.8} for row in tiny.pair_rows(3)]
    assert len(tokenised(DPO(), settings(), policy, soft, "train")) == 3
    with pytest.raises(UserError, match=r"^\(in memory\): hinge does not use confidences: remove that column, or"):
        tokenised(Hinge(), settings(), policy, soft, "train")
    with pytest.raises(UserError, match="margin_weight needs margins, and the data have no column margin"):
        tokenised(DPO(margin_weight=1.0), settings(), policy, tiny.pair_rows(3), "train")


def test_margins_without_a_weight_are_told_once(
    policy: LanguagePolicy, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Once also with margins in both parts of a mixture and for streams, and only for training data with margins."""
    told = "warning: the data have margins, which count only with --margin-weight"
    graded = [row | {"margin": 1.0} for row in tiny.pair_rows(3)]
    for method in (DPO(), RewardModel()):
        tokenised(method, settings(), policy, graded, "train")
        assert capfd.readouterr().err.splitlines().count(told) == 1
    files = [tmp_path / f"{name}.jsonl" for name in "ab"]
    for file in files:
        file.write_text("".join(json.dumps(row) + "\n" for row in graded))
    both = f"{files[0]},{files[1]}"
    tokenised(DPO(), settings(), policy, both, "train")
    assert capfd.readouterr().err.splitlines().count(told) == 1
    streamed(DPO(), settings(data=both, steps=1, streaming=True), policy, both)
    assert capfd.readouterr().err.splitlines().count(told) == 1
    cases = (DPO(margin_weight=0.5), graded, "train"), (DPO(), tiny.pair_rows(3), "train"), (DPO(), graded, "valid")
    for method, rows, label in cases:
        tokenised(method, settings(), policy, rows, label)
        assert told not in capfd.readouterr().err


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
    assert evaluation_rows(PPO(), settings(4), policy, None, None) is None
    for data in ("rows", "builtin"):
        assert len(evaluation_rows(PPO(), settings(4, data=data), policy, given, None)) == 3
    held = evaluation_rows(PPO(), settings(4, data="builtin"), policy, None, "builtin")
    assert held.describe().startswith("the built-in prompts, validation")
    assert held.prompts == list(BUILTIN["prompts"]("validation")["prompt"])


def test_each_part_of_a_mixture_has_a_format_and_a_name_of_its_own(
    policy: LanguagePolicy, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    a = tiny.write_rows(tmp_path / "a.jsonl", tiny.text_rows(3))
    b = tiny.write_rows(tmp_path / "b.jsonl", [{"prompt": "good", "completion": "film"}])
    names = [f"{a}:0.5", f"{b}:train:0.5"]
    for data in (",".join(names), names):
        rows = tokenised(SFT(), settings(), policy, data, "train")
        assert rows.batch([3, 0]).rows.tolist() == [3, 0]
        assert rows.plan.shares == (1, 1)
        assert f"{a} (text): 3 of 3" in rows.describe()
        assert f"{b}:train (prompt + completion): 1 of 1" in rows.describe()
    tiny.write_rows(b, [{"prompt": "good", "completion": "film"}, {"prompt": "good", "completion": ""}])
    with pytest.raises(UserError, match=r"b\.jsonl, row 1"):
        tokenised(SFT(), settings(), policy, f"{a},{b}", "train")
    with pytest.raises(UserError, match="has weights, but weights only apply to training data"):
        tokenised(SFT(), settings(), policy, f"{a}:1,{b}:1", "validation")
    assert capfd.readouterr().err == ""


def test_a_share_of_each_part_of_a_mixture_is_held_out(policy: LanguagePolicy, tmp_path: Path) -> None:
    """Of 20 and of 10 rows a fifth; the rows keep their numbers, and the weights are of training alone."""
    texts = [{"text": f"{word} {other}"} for word in tiny.WORDS[:5] for other in tiny.WORDS[5:11]]
    first = tiny.write_rows(tmp_path / "a.jsonl", texts[:20])
    second = tiny.write_rows(tmp_path / "b.jsonl", texts[20:])
    given = settings(data=f"{first}:0.5,{second}:0.5", holdout=0.2)
    rows = tokenised(SFT(), given, policy, given.data, "train")
    held = evaluation_rows(SFT(), given, policy, None, given.data)
    assert (len(rows), len(rows.plan), len(held), len(held.plan)) == (24, 16, 6, 6)
    assert rows.counts["held_out"] == 6
    said = [[policy.tokenizer.decode(ids[1:-1]) for ids in part.dataset["tokens"]] for part in (rows, held)]
    assert sorted(said[0] + said[1]) == sorted(row["text"] for row in texts)
    assert said[0] == [texts[row]["text"] for row in rows.dataset["row"]]
    assert f"{first}, held out (text): 4 of 4 rows used" in held.describe()
    again = tokenised(SFT(), given, policy, "(held out)", "held_out")
    assert again.fingerprint == held.fingerprint


def test_each_part_of_a_mixture_must_suit_the_method(policy: LanguagePolicy, tmp_path: Path) -> None:
    a = tiny.write_rows(tmp_path / "a.jsonl", tiny.pair_rows(3))
    b = tiny.write_rows(tmp_path / "b.jsonl", [row | {"confidence": 0.8} for row in tiny.pair_rows(3)])
    assert len(tokenised(DPO(), settings(), policy, f"{a},{b}", "train")) == 6
    with pytest.raises(UserError, match=r"b\.jsonl: hinge does not use confidences"):
        tokenised(Hinge(), settings(), policy, f"{a},{b}", "train")


def test_prompts_may_be_a_mixture_with_the_built_in_ones(policy: LanguagePolicy, tmp_path: Path) -> None:
    a = tiny.write_rows(tmp_path / "a.jsonl", tiny.prompt_rows(3))
    rows = tokenised(PPO(), settings(4), policy, f"builtin:0.5,{a}:0.5", "train")
    own = BUILTIN["prompts"]("train")["prompt"]
    assert len(rows) == len(own) + 3
    assert rows.plan.shares == (3, 3)
    assert rows.describe().startswith("the built-in prompts, train: ")


def test_first_responses_are_the_chosen_ones() -> None:
    pairs = tiny.random_pairs(4, seed=3)
    found, expected = first_responses(tiny.preferences(pairs)), tiny.demonstrations([chosen for chosen, _ in pairs])
    for i, (ids, mask) in enumerate(chosen for chosen, _ in pairs):
        assert found.tokens[i, : len(ids)].tolist() == ids
        assert found.mask[i].nonzero().flatten().tolist() == [t for t, real in enumerate(mask) if real]
    assert torch.equal(found.lengths, expected.lengths)
    assert torch.equal(found.rows, expected.rows)


# Data that people really have --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published.save_model(tmp_path_factory.mktemp("published") / "model")


@pytest.fixture
def run(
    model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str]]:
    """Two steps of a method on a file, by the command: exit status and standard error."""
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path / "cache"))

    def run(method: str, file: Path, *more: str) -> tuple[int, str]:
        common = ["--steps", "2", "--batch-size", "2", "--learning-rate", "0.01", "--threads", "1"]
        paths = ["--model", str(model), "--data", str(file), "--out", str(tmp_path / "run")]
        with pytest.raises(SystemExit) as caught:
            main([method, *paths, *common, *more])
        assert isinstance(caught.value.code, int)
        return caught.value.code, capfd.readouterr().err

    return run


@pytest.mark.parametrize(
    ("method", "file", "told"),
    [
        ("dpo", published.HH, "3 of 3 rows used, 1 with equal responses"),
        ("dpo", published.TLDR, "3 of 3 rows used"),
        ("dpo", published.ULTRAFEEDBACK, "3 of 3 rows used"),
        ("dpo", published.SHP, "2 of 2 rows used"),
        ("dpo", published.HELPSTEER, "2 of 2 rows used, 1 prompts skipped because their ratings are equal, 1 prompts"),
        ("dpo", published.MARGINS, "2 of 2 rows used"),
        ("reward", published.RANKED, "2 of 2 rows used"),
        ("reward", published.RANKED_BY_NUMBERS, "2 of 2 rows used"),
        ("reward", published.ULTRAFEEDBACK, "3 of 3 rows used"),
        ("kto", published.KTO, "3 of 3 rows used"),
        ("kto", published.SHP, "4 of 4 rows used"),
        ("sft", published.SHAREGPT, "2 of 2 rows used"),
        ("sft", published.ULTRAFEEDBACK, "3 of 3 rows used"),
    ],
    ids=lambda value: getattr(value, "stem", None),
)
def test_published_data_are_trained_on(method: str, file: Path, told: str, run: Any, tmp_path: Path) -> None:
    status, said = run(method, file)
    assert status == 0, said
    assert told in said
    losses = [line["loss"] for line in read_jsonl(tmp_path / "run" / "metrics.jsonl")]
    assert len(losses) == 2
    assert all(math.isfinite(loss) for loss in losses)


@pytest.mark.parametrize("file", published.FILES, ids=lambda file: file.stem)
def test_published_data_are_prompts_to_sample_from(file: Path, model: Path) -> None:
    """The ids end where the assistant begins to answer; of rewards' columns none is what the prompt was told by."""
    algorithm, told = PPO(), Settings(data=str(file), max_length=256, experience=Completions("gold", max_new_tokens=8))
    found = tokenised(algorithm, told, load_policy(model), str(file), "train")
    assert len(found) == len(load(file))
    kind = "feedback" if file == published.KTO else "preferences"
    if file != published.SHAREGPT:
        learned = READERS[kind](load(file), load_policy(model).tokenizer, 248, "f")
        at = {row: i for i, row in enumerate(learned.dataset["row"][:])}
        for i, ids in enumerate(found.ids):
            if i in at:
                text = learned.batch([at[i]])
                assert text.tokens[0, 0, : len(ids)].tolist() == ids
                assert text.mask[0, 0].nonzero()[0].item() == len(ids)


def test_rankings_are_refused_where_pairs_are_compared(run: Any) -> None:
    status, said = run("dpo", published.RANKED)
    assert status == 2
    assert "a row ranks 3 responses, but dpo learns from pairs; rankings are for `burnish reward`" in said


def test_formatting_is_masked_for_the_methods_that_it_is_for(policy: LanguagePolicy) -> None:
    """The one special token of a plain response is its EOS."""
    for algorithm in (DPO(), Hinge(), KTO()):
        masks = [
            tokenised(algorithm, settings(mask_formatting=on), policy, tiny.pair_rows(3), "train").batch([0]).mask[0, 0]
            for on in (False, True)
        ]
        assert masks[0].sum() == masks[1].sum() + 1
        assert not masks[1][masks[0].nonzero()[-1]]


def test_the_command_masks_formatting(run: Any, tmp_path: Path) -> None:
    """The loss is another one, since EOS takes no part in it."""
    losses = []
    for flag in ("--no-mask-formatting", "--mask-formatting"):
        status, said = run("simpo", published.SHP, flag)
        assert status == 0, said
        losses.append(read_jsonl(tmp_path / "run" / "metrics.jsonl")[0]["loss"])
        shutil.rmtree(tmp_path / "run")
    assert losses[0] != losses[1]


def test_the_built_in_comparisons_are_feedback_too(policy: LanguagePolicy) -> None:
    assert BUILTIN["feedback"] is BUILTIN["preferences"]
