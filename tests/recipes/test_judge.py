"""The command's numbers are those of docs/data.md, and its small parts are worked by hand."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from burnish.data import builtin
from burnish.data.corpora import Snippet
from burnish.recipes.judge import extremes, judge, rater_correlations, right_signs, sharing, vader_rule
from burnish.run import UserError

DOCS = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")


def documented(beginning: str) -> list[float]:
    """The numbers after `beginning` in the one line of docs/data.md that begins so."""
    (line,) = [line for line in DOCS.splitlines() if line.startswith(beginning)]
    plain = line.removeprefix(beginning).replace(",", "").replace("−", "-")
    return [float(number) for number in re.findall(r"(?<![\d.])-?\d*\.?\d+", plain)]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the command writes, without cross-validation and with fewer random pairs: those take the time."""
    try:
        builtin.corpus("film")
    except UserError as error:
        pytest.skip(str(error))
    out = tmp_path_factory.mktemp("judge") / "folder" / "judge.json"
    returned = judge(out, quiet=True, alphas=(), draws={"held_out": 4_000})
    written = json.loads(out.read_text(encoding="utf-8"))
    assert written == returned
    return written


def test_the_judge_is_as_good_as_the_docs_say(found: dict[str, Any]) -> None:
    gold, vader = found["gold"], found["vader"]
    pearson = documented("| Pearson correlation with people's means (95 % bootstrap) |")
    keys = ("correlation", "low", "high")
    assert [*(gold[k] for k in keys), *(vader[k] for k in keys)] == pytest.approx(pearson, abs=0.002)
    assert [gold["spearman"], vader["spearman"]] == pytest.approx(documented("| Spearman |"), abs=0.002)
    assert gold["slope"] == pytest.approx(documented("| slope of means on scores (1 is calibrated) |")[0], abs=0.01)
    accuracies = [100 * q["accuracy"][k] for q in (gold, vader) for k in ("mean", "low", "high")]
    assert accuracies == pytest.approx(
        documented("| accuracy on the 650 held-out comparisons (95 % Wilson) |"), abs=0.3
    )
    assert found["without_lexicon"]["correlation"] == pytest.approx(0.712, abs=0.002)


def test_the_ceiling_is_what_the_docs_say(found: dict[str, Any]) -> None:
    ceiling = found["ceiling"]["held_out"]
    expected = documented("| the 650 held-out comparisons (649 without tied means) |")
    assert [100 * ceiling[k] for k in ("agreement", "low", "high")] == pytest.approx(expected, abs=0.06)
    assert ceiling["pairs"] == 649
    few = found["ceiling"]["held_out_random"]
    assert 3_000 < few["pairs"] < 4_000
    assert few["low"] < documented("| 16,989 random held-out pairs |")[0] / 100 < few["high"]


def test_the_sizes_are_what_the_docs_say(found: dict[str, Any]) -> None:
    for name, interval in {
        "gold": "0.473–1",
        "preferences": "0.2–0.473",
        "validation": "0–0.057",
        "held_out": "0.057–0.2",
    }.items():
        size = found["splits"][f"film/{name}"]
        assert [size["texts"], size["words"]] == documented(f"| film | `{name}` | {interval} |")[:2]
    kept = {name: [c["pairs"], c["kept"]] for name, c in found["comparisons"].items()}
    assert kept == {"train": [5_875, 4_989], "validation": [308, 259], "held_out": [755, 650]}
    assert found["held_out_sharing_a_run"] == {"8": 0, "7": 7, "6": 36}
    assert (found["held_out_prefixes"], found["pretraining_texts"]["train"]) == (1_456, 20_765)


def test_attempts_and_extremes_are_what_the_docs_say(found: dict[str, Any]) -> None:
    attempts = found["attempts"]
    assert attempts["(empty)"] == pytest.approx(documented("| (empty) |")[0], abs=0.02)
    pair = documented('| "a good film"; "not a good film" |')
    assert [attempts["a good film"], attempts["not a good film"]] == pytest.approx(pair, abs=0.02)
    assert attempts["great × 50"] == pytest.approx(attempts["great"], abs=0.01)
    assert attempts["a list of praise"] == 4.0
    for place, before in (("highest", 'Highest among the held-out: "'), ("lowest", 'Lowest: "')):
        assert before + found[place][0]["text"][:25] in DOCS
    assert found["worst"]["text"].startswith("The makers of Divine Secrets")


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/judge\.json cannot be written"):
        judge(tmp_path / "file" / "judge.json")


def test_rater_correlations_by_hand() -> None:
    """Two raters who agree on every snippet: 1 and 1. Two who always say the opposite: −1 and −1."""
    agree = [Snippet(str(r), "", float(r), (r, r)) for r in (-3, 0, 1, 4)]
    oppose = [Snippet(str(r), "", 0.0, (r, -r)) for r in (-3, 0, 1, 4)]
    assert list(rater_correlations(agree).values()) == pytest.approx([1.0, 1.0])
    assert list(rater_correlations(oppose).values()) == pytest.approx([-1.0, -1.0])


def test_shared_runs_by_hand() -> None:
    """`one two three` is in the first two texts, whatever case and commas; the third shares only `two three`."""
    texts = ["So One, two three!", "one two three", "two three one"]
    assert sharing(texts, ["zero one two three four"], 3) == 2
    assert sharing(texts, ["zero one two three four"], 2) == 3
    assert sharing(texts, [], 2) == 0


def test_signs_and_extremes_by_hand() -> None:
    """Means 2, −1 and 0.5 with scores 1, 3 and −3: one right, one wrong, one not clear; the second is furthest off."""
    scores, means = np.array([1.0, 3.0, -3.0]), np.array([2.0, -1.0, 0.5])
    assert right_signs(scores, means).tolist() == [True, False]
    snippets = [Snippet(str(i), f"text {i}", float(mean), (0,)) for i, mean in enumerate(means)]
    found = extremes(snippets, scores, 2)
    assert [row["text"] for row in found["highest"]] == ["text 1", "text 0"]
    assert [row["text"] for row in found["lowest"]] == ["text 2", "text 0"]
    assert found["worst"] == {"text": "text 1", "score": 3.0, "mean": -1.0}


def test_vader_is_the_original(found: dict[str, Any]) -> None:
    """Its authors' own example: "VADER is smart, handsome, and funny." has compound 0.8317, with "!" 0.8439."""
    scores = vader_rule(["VADER is smart, handsome, and funny.", "VADER is smart, handsome, and funny!", ""])
    assert scores == pytest.approx([0.8316, 0.8439, 0.0], abs=2e-4)
