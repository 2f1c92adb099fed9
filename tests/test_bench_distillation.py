"""The study of distillation: that its stages run on a tiny teacher and resume, and that its intervals are right."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import ByteLevelBPETokenizer

from burnish.evaluation.english import fluency, invented
from burnish.evaluation.statistics import bootstrap_interval
from burnish.evaluation.text import distinct_n
from burnish.policies.language.policy import load_policy
from burnish.recipes.pretrain import Recipe, save_model
from burnish.run import UserError

sys.path.insert(0, str(Path(__file__).parent.parent / "bench"))
import distillation
import distillation_shown

TINY = Recipe(width=16, hidden=24, layers=1, heads=2, context=64, precision="float32")
TEXTS = [f"a {one} film about {other}" for one in ("warm", "dull", "kind") for other in ("love", "war", "a dog", "no")]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> distillation.Study:
    """A study with a teacher whose tokenizer has SmolLM2's special tokens, and another dozen."""
    folder = tmp_path_factory.mktemp("teacher")
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(TEXTS, vocab_size=300, special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    save_model(folder, bpe._tokenizer, distillation.SPECIAL, Recipe(width=32, layers=1, heads=2, context=64), 7)
    return distillation.Study(
        steps=4, batch_size=2, completions=4, max_new_tokens=5, samples=6, teacher=str(folder), student=TINY
    )


@pytest.fixture(scope="module")
def out(study: distillation.Study, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of two seeds of it, with two updates to measure the cost of one."""
    out = tmp_path_factory.mktemp("study") / "out"
    distillation.claim(out, study)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distillation, "PROBE", 2)
        for seed in (0, 1):
            distillation.work(out, study, seed, material())
        yield out


def material() -> distillation.Material:
    texts, openings = [*TEXTS, *reversed(TEXTS)], [" ".join(text.split()[:2]) for text in TEXTS]
    known = frozenset(["a", "warm", "dull", "kind", "film", "about", "love", "war", "dog", "no"])
    return distillation.Material(texts, openings, openings[:6], TEXTS[:6], TEXTS, known.__contains__)


def test_both_arms_begin_together(study: distillation.Study, out: Path) -> None:
    measured = json.loads((out / "seed-0" / "measured.json").read_text())
    costs = measured["costs"]
    assert {name: costs[name]["steps"] for name in ("shared", "text", "before", "probe")} == {
        "shared": 2,
        "text": 2,
        "before": 1,
        "probe": 2,
    }
    assert all(cost["seconds"] > 0 and cost["tokens"] > 0 for cost in costs.values())
    for student in measured["students"].values():
        assert all(text.startswith(one) for text, one in zip(student["texts"], material().beginnings, strict=True))
    configs = {name: (out / "seed-0" / name / "config.yaml").read_text() for name in costs}
    for name in ("text", "before"):
        assert f"from_: {out / 'seed-0' / 'shared'}\n" in configs[name]
    assert f"model: {out / 'seed-0' / 'before'}\n" in configs["taught"]
    assert f"teacher: {study.teacher}\n" in configs["taught"]
    found = distillation.collected(out, study, [0, 1])
    table = distillation_shown.shown(found)
    assert table.count("\n| ") == 7 + 1 + 2 * (6 + 2)
    assert (out / "distillation.json").exists()


def test_what_is_complete_is_not_done_again(study: distillation.Study, out: Path) -> None:
    """The stage without its note begins again, and gives the same weights; the others are left alone."""
    folder = out / "seed-1"
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*/model/model.safetensors")}
    weights = (folder / "text" / "model" / "model.safetensors").read_bytes()
    (folder / "measured.json").unlink()
    (folder / "text.json").unlink()
    distillation.work(out, study, 1, material())
    again = {path: path.stat().st_mtime_ns for path in before}
    assert {path.parts[-3] for path in before if again[path] != before[path]} == {"text"}
    assert (folder / "text" / "model" / "model.safetensors").read_bytes() == weights
    other = distillation.replace(study, steps=5)
    with pytest.raises(SystemExit, match=r"study\.json has other settings"):
        distillation.claim(out, other)


def test_arms_read_other_texts_after_the_common_ones(study: distillation.Study, out: Path) -> None:
    """Two of the four updates are common; "before" reads what "text" reads first."""
    tokens = {name: json.loads((out / "seed-0" / f"{name}.json").read_text())["tokens"] for name in ("text", "before")}
    assert 0 < tokens["before"] < tokens["text"]


def test_more_updates_than_texts_are_refused(tmp_path: Path, study: distillation.Study) -> None:
    with pytest.raises(UserError, match="24 texts are enough for 12 updates, not 13: give smaller --minutes"):
        distillation.train_seed(tmp_path, distillation.replace(study, steps=13), 0, material().texts, ["a film"])


# Measures ------------------------------------------------------------------------------------------------------------


def test_cells_add_up_to_the_measures(study: distillation.Study) -> None:
    judge = load_policy(study.teacher)
    prompts = ["a warm", "a dull film"]
    texts = ["a warm flim, a film " + "no " * 30, "a dull film abuot it"]
    cells = distillation_shown.cells_of(prompts, texts, material().exists, judge)
    after = [text.removeprefix(prompt) for text, prompt in zip(texts, prompts, strict=True)]
    short = [" ".join(texts[0].split()[:24]), texts[1]]

    def value(name: str) -> float:
        return distillation_shown.influences(name, [cells])[0]

    assert value("nats") == pytest.approx(fluency(judge, texts))
    assert value("nats_cut") == pytest.approx(fluency(judge, short)) != pytest.approx(value("nats"))
    assert value("invented") == pytest.approx(100 * invented(after, material().exists).share) == 100 * 3 / 35
    assert value("distinct_2") == pytest.approx(distinct_n(after, 2))
    assert value("words") == 35 / 2


def test_intervals_of_ratios_are_those_of_a_bootstrap() -> None:
    """One seed of 400 texts: a ratio of sums, and the difference of two of them, resampled text by text."""
    rng = np.random.default_rng(0)
    below = rng.integers(5, 30, size=400)
    above = below * rng.gamma(2, 1, size=400)
    value, moved = distillation_shown.influences("nats", [{"nats": [above.tolist(), below.tolist()]}])
    found = distillation_shown.clustered_interval(value + moved)
    index = np.arange(400)

    def ratio(places: Any, axis: int = -1) -> Any:
        chosen = places.astype(int)
        return above[chosen].sum(axis) / below[chosen].sum(axis)

    wanted = bootstrap_interval(index, ratio)
    assert found.mean == pytest.approx(above.sum() / below.sum())
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=0.1 * (wanted.high - wanted.low))


def test_perplexity_per_byte_is_an_exponential() -> None:
    """1 nat of 4 bytes and 3 of 4: exp(4/8); the first text moves it by exp(½)·(1 − 2)/4."""
    value, moved = distillation_shown.influences("per_byte", [{"per_byte": [[1.0, 3.0], [4, 4]]}])
    assert value == pytest.approx(np.exp(0.5))
    assert moved[0].tolist() == pytest.approx([-np.exp(0.5) / 4, np.exp(0.5) / 4])


def test_a_text_moves_distinct_2_by_what_it_has_alone() -> None:
    """a b, b c · a b · d e f d e: of 7 2-grams 5 are distinct. Without each text: 4 of 5, 5 of 6 and 2 of 3; times 2
    of 5/7 minus these, less their mean."""
    value, moved = distillation_shown.distinct(["a b c", "a b", "d e f d e"])
    assert value == pytest.approx(5 / 7)
    raw = 2 * (5 / 7 - np.array([4 / 5, 5 / 6, 2 / 3]))
    assert moved.tolist() == pytest.approx((raw - raw.mean()).tolist())


def test_the_difference_is_paired() -> None:
    """Both arms vary by a whole unit from text to text, and differ by 0.1 everywhere."""
    rng = np.random.default_rng(1)
    base = rng.normal(5, 1, size=200)

    def student(shift: float) -> dict[str, Any]:
        cells = {name: [(base + shift).tolist(), [1] * 200] for name in ("per_byte", "nats", "nats_cut", "words")}
        return cells | {"invented": cells["nats"], "after": ["a b"] * 200, "after_cut": ["a b"] * 200}

    seeds = [{"students": {"text": student(0), "taught": student(-0.1), "before": student(0)}, "people": student(0)}]
    rows = distillation_shown.intervals(seeds)["nats"]
    assert [rows["difference"][key] for key in ("mean", "low", "high")] == pytest.approx([-0.1] * 3)
    assert rows["text"]["high"] - rows["text"]["low"] > 0.2
    assert distillation_shown.interval(rows["difference"], "{:.2f}", signed=True) == "−0.10 [−0.10, −0.10]"


# The rows of the embedding -------------------------------------------------------------------------------------------


def test_rows_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer of width 16 has 4·16² + 3·16·24 weights and two norms of 16; the last norm has 16; rows have 16 each."""
    monkeypatch.setattr(distillation, "ROWS", (500, 100, 20))
    first, second = distillation.rows_cost(TINY, batch=2, length=5, repeats=1)
    body = 4 * 16**2 + 3 * 16 * 24 + 2 * 16 + 16
    assert [(one["rows"], one["embedding"], one["parameters"]) for one in (first, second)] == [
        (500, 8000, 8000 + body),
        (100, 1600, 1600 + body),
    ]
    assert first["seconds"] > 0
    assert "| 500 | 0.0 M | 78% | 0.0 MB | 0 MB |" in distillation_shown.rows_table([first, second])
