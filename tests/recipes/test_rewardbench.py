"""Small files in the two benchmarks' own formats, and models made on the spot."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from datasets import Dataset, DatasetDict
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from burnish import train
from burnish.algorithms.dpo import DPO
from burnish.algorithms.reward_model import RewardModel
from burnish.cli import main
from burnish.config import Settings
from burnish.data import sources
from burnish.recipes.rewardbench import load_judge, print_table, read_questions, rewardbench, with_split
from burnish.run import UserError

SMALL: dict[str, Any] = {"steps": 2, "batch_size": 4, "learning_rate": 0.01, "quiet": True, "threads": 1}
QUIET = Settings(quiet=True, threads=1, device="cpu")


def question(subset: str, prompt: str, chosen: Any, rejected: Any, **more: Any) -> dict[str, Any]:
    """A row with the columns that the published files have beside those that count."""
    names = {"chosen_model": "one", "rejected_model": "other", "id": "0"}
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, "subset": subset} | names | more


PAIRS = [
    question("alpacaeval-easy", "the film", " good plot", " bad plot"),
    question("alpacaeval-easy", "a plot", " very fine", " very dull film"),
    question("llmbar-natural", "is the film good", " great", " not great"),
    question("math-prm", "was", " the", " a"),
    question("hep-python", "and", " but", " but"),
    question("hep-rust", "and the film", " is good", ""),
    question("my-own", "a film", " good", " bad"),
]

BESTS = [
    question("Focus", "the film", [" good"], [" bad", " dull", " not good"]),
    question("Precise IF", "a plot", [" fine"], [" dull", " bad", " not fine"]),
    question("Ties", "a", [" film"], [" good", " bad"], id="ref:4"),
    question("Ties", "the", [" film", " plot"], [" good", " bad", " very dull"], id="tied:4"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    tiny.write_rows(folder / "pairs.jsonl", PAIRS)
    tiny.write_rows(folder / "bests.jsonl", BESTS)
    tiny.write_rows(folder / "training.jsonl", tiny.pair_rows(6))
    tiny.save_model(folder / "tiny")
    tiny.save_model(folder / "other", seed=5)
    for algorithm, name in ((RewardModel(), "reward"), (DPO(), "dpo")):
        train(algorithm, model=folder / "tiny", data=folder / "training.jsonl", out=folder / name, **SMALL)
    return folder


def ids(text: str) -> list[int]:
    return [3 + tiny.WORDS.index(word) for word in text.split()]


def reward_score(run: Path) -> Any:
    """The oracle: transformers' own model on one text, read at its EOS."""
    model = AutoModelForSequenceClassification.from_pretrained(run / "model")

    def score(prompt: str, answer: str) -> float:
        with torch.no_grad():
            row = torch.tensor([[tiny.BOS, *ids(prompt), *ids(answer), tiny.EOS]])
            hidden = model.base_model(row).last_hidden_state[0, -1]
        return (model.score.weight[0] @ hidden).item() - model.config.score_offset

    return score


def implicit_score(policy: Path, reference: Path) -> Any:
    """The oracle: Σ log π − log π_ref over the answer's tokens and EOS, each from a whole forward pass."""
    models = [AutoModelForCausalLM.from_pretrained(path) for path in (policy, reference)]

    def score(prompt: str, answer: str) -> float:
        start = [tiny.BOS, *ids(prompt)]
        end = [*ids(answer), tiny.EOS]
        mask = [False] * len(start) + [True] * len(end)
        with torch.no_grad():
            ours, theirs = (sum(tiny.naive_logprobs(m, start + end, mask)).item() for m in models)
        return ours - theirs

    return score


def written(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "rewardbench_rows.jsonl").read_text().splitlines()]


def check_scores(rows: list[dict[str, Any]], data: list[dict[str, Any]], score: Any) -> None:
    assert [row["row"] for row in rows] == list(range(len(data)))
    for row, one in zip(rows, data, strict=True):
        for side in ("chosen", "rejected"):
            texts = one[side] if isinstance(one[side], list) else [one[side]]
            assert row[side] == pytest.approx([score(one["prompt"], text) for text in texts], abs=1e-5)


def test_a_reward_model_on_pairs(folder: Path) -> None:
    """Each number from the oracle's scores; equal answers are a loss, and an empty one is an answer."""
    out = folder / "out-reward"
    found = rewardbench(str(folder / "reward"), str(folder / "pairs.jsonl"), None, out, None, QUIET)
    score = reward_score(folder / "reward")
    check_scores(written(out), PAIRS, score)
    right = [float(score(one["prompt"], one["chosen"]) > score(one["prompt"], one["rejected"])) for one in PAIRS]
    sections = found["sections"]
    assert sections["Chat"]["score"]["mean"] == pytest.approx(np.mean(right[:2]))
    assert sections["Chat Hard"]["score"]["mean"] == pytest.approx(right[2])
    assert sections["Reasoning"]["score"]["mean"] == pytest.approx((2 * right[3] + right[4] + right[5]) / 4)
    assert right[4] == 0
    assert found["subsets"]["hep-python"]["ties"] == 1
    assert found["missing_sections"] == ["Safety"]
    assert found["subsets"]["my-own"]["section"] == "other"
    mean = np.mean([sections[name]["score"]["mean"] for name in ("Chat", "Chat Hard", "Reasoning")])
    assert found["score"]["mean"] == pytest.approx(mean)
    assert (found["scored_by"], found["reference"]) == ("reward model", None)
    assert json.loads((out / "rewardbench.json").read_text()) == found
    assert "Content-Security-Policy" in (out / "rewardbench.html").read_text()


def test_a_failed_write_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise UserError("rewardbench.html cannot be written (No space left on device)")

    monkeypatch.setattr("burnish.recipes.rewardbench.rewardbench_page", full)
    with pytest.raises(UserError, match="No space left"):
        rewardbench(str(folder / "reward"), str(folder / "pairs.jsonl"), None, folder / "a" / "full", None, QUIET)
    assert not (folder / "a").exists()


def test_a_policy_by_its_implicit_reward_against_what_it_began_as(folder: Path) -> None:
    out = folder / "out-dpo"
    found = rewardbench(str(folder / "dpo"), str(folder / "pairs.jsonl"), None, out, None, QUIET)
    check_scores(written(out), PAIRS, implicit_score(folder / "dpo" / "model", folder / "tiny"))
    assert (found["scored_by"], found["reference"]) == ("implicit reward", str(folder / "tiny"))


def test_what_only_scores_stays_in_the_16_bits_of_its_files(folder: Path, tmp_path: Path) -> None:
    for source in ("reward", "dpo", "tiny"):
        kind: Any = AutoModelForSequenceClassification if source == "reward" else AutoModelForCausalLM
        path = folder / source / "model" if source != "tiny" else folder / source
        kind.from_pretrained(path).bfloat16().save_pretrained(tmp_path / source)
        tiny.make_tokenizer().save_pretrained(tmp_path / source)
    judges = [load_judge(str(tmp_path / "reward"), None, QUIET)]
    judges.append(load_judge(str(tmp_path / "dpo"), str(tmp_path / "tiny"), QUIET))
    for model in (judges[0].model, judges[1].model, judges[1].reference):
        assert model.model.transformer.wte.weight.dtype == torch.bfloat16
        assert not model.parameters()


def test_another_reference(folder: Path) -> None:
    out = folder / "out-other"
    other = str(folder / "other")
    found = rewardbench(str(folder / "dpo" / "model"), str(folder / "pairs.jsonl"), other, out, None, QUIET)
    check_scores(written(out), PAIRS, implicit_score(folder / "dpo" / "model", folder / "other"))
    assert found["reference"] == other


@pytest.mark.parametrize("name", ["reward", "dpo"])
def test_the_second_benchmark(folder: Path, name: str) -> None:
    """One chosen answer against several; Ties of 3 and 5 answers go with rows of 4."""
    out = folder / f"out-bests-{name}"
    found = rewardbench(str(folder / name), str(folder / "bests.jsonl"), None, out, None, QUIET)
    is_reward = name == "reward"
    score = reward_score(folder / name) if is_reward else implicit_score(folder / name / "model", folder / "tiny")
    rows = written(out)
    check_scores(rows, BESTS, score)
    assert found["benchmark"] == "RewardBench 2"
    best = [max(row["chosen"]) > max(row["rejected"]) for row in rows]
    assert found["sections"]["Focus"]["score"]["mean"] == best[0]
    assert found["sections"]["Precise IF"]["score"]["mean"] == best[1]
    assert found["subsets"]["Ties"]["pairs"] == 1
    assert found["missing_sections"] == ["Factuality", "Math", "Safety"]


def test_a_chat_model_reads_turns(folder: Path) -> None:
    """With a template the prompt is the user's turn and each answer the assistant's."""
    model = folder / "chat"
    tiny.save_model(model)
    tokenizer = tiny.make_tokenizer()
    tokenizer.chat_template = (
        "{{ bos_token + ' ' }}"
        "{% for m in messages %}{{ 'not ' if m.role == 'user' else 'very ' }}{{ m.content }}{{ ' ' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'very ' }}{% endif %}"
    )
    tokenizer.save_pretrained(model)
    data = tiny.write_rows(folder / "chat.jsonl", [question("hep-go", "good film", "plot", "dull plot")])
    rewardbench(str(model), str(data), str(folder / "other"), folder / "out-chat", None, QUIET)
    score = implicit_score(model, folder / "other")
    expected = [score("not good film very", answer) for answer in ("plot", "dull plot")]
    (row,) = written(folder / "out-chat")
    assert [*row["chosen"], *row["rejected"]] == pytest.approx(expected, abs=1e-5)


def test_long_rows_are_cut_and_counted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [question("hep-go", "the film " * 40, " good", " bad"), question("hep-go", "a", " film" * 60, " bad")]
    data = tiny.write_rows(folder / "long.jsonl", rows)
    found = rewardbench(str(folder / "reward"), str(data), None, None, None, Settings(threads=1, device="cpu"))
    assert found["tokens"] == {
        "max_length": tiny.CONTEXT,
        "truncated_prompts": 2,
        "truncated_responses": 1,
        "dropped": 0,
    }
    told = capsys.readouterr().err
    assert "at most 48 tokens; 2 truncated prompts, 1 truncated responses" in told
    assert "no chat template" in told
    shorter = rewardbench(str(folder / "reward"), str(data), None, None, 8, QUIET)
    assert shorter["tokens"]["max_length"] == 8


def test_a_saved_data_set_with_its_split(folder: Path) -> None:
    """As the hub's library saves it; the split stands behind a colon."""
    DatasetDict({"filtered": Dataset.from_list(PAIRS)}).save_to_disk(str(folder / "saved"))
    found = rewardbench(str(folder / "reward"), f"{folder / 'saved'}:filtered", None, None, None, QUIET)
    assert found["rows"] == 7


def test_the_published_names_have_their_scored_split(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert with_split("allenai/reward-bench") == "allenai/reward-bench:filtered"
    assert with_split("allenai/reward-bench-2") == "allenai/reward-bench-2:test"
    assert with_split("allenai/reward-bench:raw") == "allenai/reward-bench:raw"
    assert with_split("someone/else") == "someone/else"
    (folder / "allenai" / "reward-bench").mkdir(parents=True)
    monkeypatch.chdir(folder)
    assert with_split("allenai/reward-bench") == "allenai/reward-bench"


def test_the_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_table(rewardbench(str(folder / "reward"), str(folder / "bests.jsonl"), None, None, None, QUIET))
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0].startswith("RewardBench 2: ")
    words = [line.split()[0] for line in lines[4:] if line]
    assert words[:5] == ["Precise", "Focus", "Ties", "mean", "This"]
    print_table(rewardbench(str(folder / "reward"), str(folder / "pairs.jsonl"), None, None, None, QUIET))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["hep-python", "1", "0.0", "%", "0.0", "to", "79.3", "%", "1"] in lines
    assert ["other,", "in", "no", "mean"] in lines
    (mean,) = [line for line in lines if line[:3] == ["mean", "of", "sections"]]
    assert mean[3] == "6"  # not the row of no section


def test_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["rewardbench", str(folder / "dpo"), "--data", str(folder / "pairs.jsonl"), "--threads", "1", "--quiet"]
    out = folder / "out-command"
    with pytest.raises(SystemExit) as ended:
        main([*given, "--reference", str(folder / "other"), "--out", str(out), "--max-length", "12"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert told.rstrip().endswith(f"{out / 'rewardbench.html'}".rsplit("/", 1)[-1])
    found = json.loads((out / "rewardbench.json").read_text())
    assert (found["reference"], found["tokens"]["max_length"]) == (str(folder / "other"), 12)
    assert f"{found['score']['mean']:.1%}".replace("%", " %") in told
    with pytest.raises(SystemExit) as ended:
        main([*given[:1], str(folder / "tiny"), *given[2:]])
    assert ended.value.code == 2
    assert "give --reference" in capsys.readouterr().err


AMISS = [
    ({"subset": None}, "column `subset` is empty: give the name of the row's subset"),
    ({"subset": ""}, "column `subset` is an empty text: give the name of the row's subset"),
    ({"prompt": None}, "column `prompt` is empty: give a text"),
    ({"prompt": [{"content": "no role"}]}, "column `prompt` is a list: give a text, or a list of messages"),
    ({"chosen": None}, "column `chosen` is empty: give a text, as in row 0"),
    ({"rejected": 3}, "column `rejected` is of type int: give a text"),
    ({"rejected": ["a", "list"]}, "column `rejected` is a list: give a text, as in row 0"),
]


@pytest.mark.parametrize(("change", "sentence"), AMISS)
def test_a_broken_row_is_named(change: dict[str, Any], sentence: str) -> None:
    rows = [PAIRS[0], PAIRS[1] | change]
    with pytest.raises(UserError) as error:
        read_questions(sources.load(rows), "rows.jsonl")
    assert str(error.value).startswith(f"rows.jsonl, row 1: {sentence}")


AMISS_2 = [
    ({"chosen": " text"}, "column `chosen` is a text: give a list of texts, as in row 0"),
    ({"rejected": []}, "column `rejected` is an empty list: give at least one text"),
    ({"rejected": ["bad", None]}, "column `rejected` has an entry that is empty: give a list of texts"),
    ({"subset": "Ties", "id": "7"}, "column `id` is '7': a row of Ties must be 'ref:N' or 'tied:N'"),
    ({"subset": "Ties", "id": None}, "column `id` is None: a row of Ties"),
    ({"subset": "Ties", "id": "ref:4"}, "column `id` is 'ref:4', as in row 2"),
]


@pytest.mark.parametrize(("change", "sentence"), AMISS_2)
def test_a_broken_row_of_the_second_benchmark_is_named(change: dict[str, Any], sentence: str) -> None:
    rows = [*BESTS, BESTS[1] | change]
    with pytest.raises(UserError) as error:
        read_questions(sources.load(rows), "rows.jsonl")
    assert str(error.value).startswith(f"rows.jsonl, row 4: {sentence}")


def test_a_missing_column_is_named(folder: Path) -> None:
    with pytest.raises(UserError, match=r"training.jsonl has no column `subset`: RewardBench's format has `prompt`"):
        rewardbench(str(folder / "reward"), str(folder / "training.jsonl"), None, None, None, QUIET)


def test_a_prompt_of_messages_needs_a_template(folder: Path) -> None:
    rows = [question("hep-go", [{"role": "user", "content": "film"}], "good", "bad")]
    data = tiny.write_rows(folder / "messages.jsonl", rows)
    with pytest.raises(UserError, match=r"messages.jsonl, row 0: is a conversation, but the tokenizer has no chat"):
        rewardbench(str(folder / "reward"), str(data), None, None, None, QUIET)


def complaint(folder: Path, model: str, reference: str | None) -> str:
    with pytest.raises(UserError) as error:
        rewardbench(model, str(folder / "pairs.jsonl"), reference, None, None, QUIET)
    return str(error.value)


def test_a_reference_is_asked_for_where_it_is_needed_and_refused_where_not(folder: Path) -> None:
    assert "is a policy, not a reward model: give --reference" in complaint(folder, str(folder / "tiny"), None)
    assert "leave --reference out" in complaint(folder, str(folder / "reward"), str(folder / "tiny"))


def test_a_reference_of_another_vocabulary(folder: Path) -> None:
    alien = folder / "alien"
    tiny.make_model(vocab_size=5).save_pretrained(alien)
    tiny.make_tokenizer(["a", "film"]).save_pretrained(alien)
    assert "has another vocabulary than" in complaint(folder, str(folder / "dpo"), str(alien))


def test_models_that_are_not_there(folder: Path) -> None:
    assert complaint(folder, str(folder / "nothing"), None).startswith(f"MODEL {folder / 'nothing'} could not be")
    said = complaint(folder, str(folder / "dpo"), str(folder / "nothing"))
    assert said.startswith(f"--reference {folder / 'nothing'} could not be loaded")


def test_a_run_whose_beginning_has_changed(folder: Path) -> None:
    before = tiny.save_model(folder / "begun")
    train(DPO(), model=before, data=folder / "training.jsonl", out=folder / "later", **SMALL)
    tiny.save_model(before, seed=9)
    assert "started from it: give --reference" in complaint(folder, str(folder / "later"), None)
