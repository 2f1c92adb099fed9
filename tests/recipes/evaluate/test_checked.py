"""Accuracy and pass@k of a run, before and after: on a task that a tiny model was taught, and in dialogues."""

import json
from pathlib import Path
from typing import Any

import pytest
import tiny

from burnish import SFT, train
from burnish.algorithms.rejection import Rejection
from burnish.config import Settings
from burnish.recipes.evaluate import checked
from burnish.recipes.evaluate.checked import checker_for, summary
from burnish.recipes.evaluate.run import evaluate_run
from burnish.rewards.completed import checked_scores
from burnish.run import UserError

QUIET = Settings(quiet=True)
TASK = "task:reverse:least=1,letters=1,alphabet=4"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that learned to repeat one of four letters."""
    folder = tmp_path_factory.mktemp("task")
    tokenizer = tiny.make_tokenizer(["reverse", "->", *"abcd"])
    tiny.make_model("llama", vocab_size=len(tokenizer)).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    (folder / "held.jsonl").write_text(
        "".join(
            json.dumps({"prompt": f"reverse {a} ->", "completion": f" {a}", "answer": a, "task": "reverse"}) + "\n"
            for a in "abcd"
        )
    )
    return train(
        SFT(),
        model=folder / "model",
        data=folder / "held.jsonl",
        eval_data=folder / "held.jsonl",
        out=folder / "run",
        steps=60,
        batch_size=4,
        learning_rate=0.02,
        threads=1,
        quiet=True,
    )


def test_accuracy_rises_from_before_to_after(run: Path) -> None:
    found = evaluate_run(run, f"{TASK},rows=20:train", None, QUIET, 3, samples_per_prompt=4)
    answers = found["answers"]
    assert answers["samples_per_prompt"] == 4
    assert answers["checker"] == "task"
    before, after = answers["before"], answers["after"]
    assert list(after["pass_at_k"]) == ["1", "2", "4"]
    assert after["accuracy"] == after["pass_at_k"]["1"]
    assert after["by_difficulty"]["1"]["mean"] > 0.9 > before["by_difficulty"]["1"]["mean"]
    assert before["pass_at_k"]["4"]["mean"] >= before["pass_at_k"]["1"]["mean"]
    assert json.loads((run / "evaluation.json").read_text()) == found


def test_answers_that_cannot_be_checked_are_not(run: Path) -> None:
    assert "answers" not in evaluate_run(run, None, None, QUIET, 3)
    with pytest.raises(UserError, match="--samples-per-prompt needs answers that can be checked"):
        evaluate_run(run, None, None, QUIET, 3, samples_per_prompt=4)
    with pytest.raises(UserError, match=r"--prefixes 9999: .* has 5 prompts"):
        evaluate_run(run, f"{TASK},rows=5:train", 9999, QUIET, 3)


def test_the_checker_is_that_of_the_task_or_of_the_run() -> None:
    class Own:
        reward: Any = "gold:0.5,match:gold:1"

    settings = Settings(experience=Own())
    for data, name in ((TASK, "task"), ("a.jsonl", "match:gold")):
        found = checker_for(settings, data)
        assert found is not None
        assert found.name == name
    for reward in ("gold", "module:function", None, print):
        Own.reward = reward
        assert checker_for(settings, "a.jsonl") is None


def test_a_summary_worked_by_hand() -> None:
    """Two prompts of size 2 with 1 and 2 of 2 right, one of size 10 with none: (½ + 1 + 0)/3."""
    found = summary([1, 2, 0], 2, ["2", "2", "10"])
    assert found["accuracy"]["mean"] == pytest.approx(0.5)
    assert found["pass_at_k"]["2"]["mean"] == pytest.approx(2 / 3)
    assert list(found["by_difficulty"]) == ["2", "10"]
    assert found["by_difficulty"]["2"]["mean"] == pytest.approx(0.75)
    passes = {one: {k: p["mean"] for k, p in of.pop("pass_at_k").items()} for one, of in found["by_difficulty"].items()}
    assert passes == {"2": {"1": pytest.approx(0.75), "2": 1.0}, "10": {"1": 0.0, "2": 0.0}}
    assert found["by_difficulty"]["10"] | {"low": 0, "high": 0} == {"mean": 0, "low": 0, "high": 0, "prompts": 1}
    assert "by_difficulty" not in summary([0] * 21, 2, [str(i) for i in range(21)])


class Halves:
    """Asks twice; a message of an even number of characters earns a half."""

    ended: list[tuple[str, float]] = []  # noqa: RUF012
    open = most = 0

    def reset(self, row: dict[str, Any], seed: int) -> list[dict[str, str]]:
        Halves.open += 1
        Halves.most = max(Halves.most, Halves.open)
        self.prompt, self.said = row["prompt"], list[str]()
        return [{"role": "user", "content": row["prompt"]}]

    def step(self, text: str) -> tuple[list[dict[str, str]], float, bool]:
        self.said.append(text)
        return [{"role": "user", "content": "good film"}], 0.5 * (len(text) % 2 == 0), len(self.said) == 2

    def close(self) -> None:
        Halves.open -= 1
        Halves.ended.append((self.prompt, sum(0.5 * (len(one) % 2 == 0) for one in self.said)))


@pytest.mark.parametrize("reward", [None, "regex:the|film"])
def test_where_an_environment_answers_an_answer_is_a_dialogue(
    reward: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is right by the checker of its last message, or by what the environment gave; as many are open as in
    training."""
    tiny.save_model(tmp_path / "model", "llama")
    tiny.make_chat_tokenizer().save_pretrained(tmp_path / "model")
    prompts = ["the film was", "a good film", "bad"]
    tiny.write_rows(tmp_path / "rows.jsonl", [{"prompt": text} for text in prompts])
    run = train(
        Rejection(),
        model=tmp_path / "model",
        data=tmp_path / "rows.jsonl",
        eval_data=tmp_path / "rows.jsonl",
        out=tmp_path / "run",
        environment=Halves,
        reward=reward,
        rollout=2,
        completions_per_prompt=2,
        max_new_tokens=9,
        max_turns=2,
        steps=2,
        batch_size=2,
        learning_rate=0.05,
        threads=1,
        quiet=True,
    )
    said: list[str] = []

    def scores(checker: Any, completed: Any) -> list[float]:
        said.extend(completed.responses)
        return checked_scores(checker, completed)

    monkeypatch.setattr(checked, "checked_scores", scores)
    Halves.ended, Halves.most = [], 0
    found = evaluate_run(run, None, None, QUIET, samples_per_prompt=5)["answers"]
    assert (found["prompts"], found["samples_per_prompt"]) == (3, 5)
    assert found["checker"] == (reward or f"{__name__}:Halves")
    assert [prompt for prompt, _ in Halves.ended[-30:]] == [one for one in prompts for _ in range(5)] * 2
    assert 1 < Halves.most <= 4
    right = ["the" in one or "film" in one for one in said] if reward else [e >= 1 for _, e in Halves.ended[-30:]]
    assert len(right) == 30
    for name, one in (("before", right[:15]), ("after", right[15:])):
        assert 0 < sum(one) < 15
        assert found[name]["accuracy"]["mean"] == pytest.approx(sum(one) / 15)
