"""The demo's numbers, from measurements made up so that they can be worked by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from burnish.batches import Demonstrations
from burnish.evaluation.continuations import Continuations
from burnish.recipes.demo.demo import QUICK, Repetition
from burnish.recipes.demo.measure import Measured, gold_judge
from burnish.recipes.demo.summary import (
    TRAINED,
    interval,
    model_summary,
    print_table,
    sample,
    shown,
    summarise,
    warnings_of,
)
from burnish.report.language.demo import demo_page


def measured(gold: list[float], kl: list[float] | None = None) -> Measured:
    count = len(gold)
    empty = torch.zeros(count, 1, dtype=torch.long)
    batch = Demonstrations(empty, empty.bool(), torch.ones(count, dtype=torch.long), torch.arange(count))
    texts = [f"prefix {i} text" for i in range(count)]
    found = Continuations([f"prefix {i}" for i in range(count)], texts, batch, [True] * count)
    return Measured(found, np.array(gold), np.array(kl or [0.0] * count), np.full(count, 3.0), 0.5, 1.0)


def test_one_model_beside_the_baseline() -> None:
    """Gold 1, 2, 3 against 0, 2, 5: differences 1, 0, −2, mean −1/3; one win, one tie, one loss: win rate ½."""
    found = model_summary(
        "DPO", [{"SFT": measured([0.0, 2.0, 5.0]), "DPO": measured([1.0, 2.0, 3.0], [1.0, 2.0, 6.0])}]
    )
    assert found["gold"]["mean"] == 2.0
    assert found["gold_vs_sft"]["mean"] == pytest.approx(-1 / 3)
    assert found["win_rate"]["mean"] == 0.5
    assert found["kl"]["mean"] == 3.0
    assert found["length"] == {"mean": 3.0}
    assert found["gold_values"] == [1.0, 2.0, 3.0]


def test_the_baseline_is_not_compared_with_itself() -> None:
    found = model_summary("SFT", [{"SFT": measured([0.0, 2.0])}])
    assert found["gold_vs_sft"] is None
    assert found["win_rate"] is None


def test_pairs_cancel_what_prefixes_share() -> None:
    """Every difference is 1 although the scores spread widely, so the paired interval has no width."""
    gold = [-3.0, 0.0, 3.0, 1.0]
    found = model_summary("DPO", [{"SFT": measured(gold), "DPO": measured([g + 1 for g in gold])}])
    assert found["gold_vs_sft"] == {"mean": 1.0, "low": 1.0, "high": 1.0}


def test_several_seeds_widen_the_interval() -> None:
    """Within each seed nothing varies; between seeds the mean goes from 0 to 1."""
    assert interval(np.zeros((1, 5))).as_dict() == {"mean": 0.0, "low": 0.0, "high": 0.0}
    both = interval(np.array([[0.0] * 5, [1.0] * 5]))
    assert (both.mean, both.low, both.high) == (0.5, 0.0, 1.0)


def test_two_seeds_become_one_summary_and_a_page(tmp_path: Path) -> None:
    """DPO gains 1 in one seed and 2 in the other: 1.5 on average, over the seeds from 1 to 2."""
    everywhere = {"mean": 0.5, "low": 0.25, "high": 0.75}
    repetitions, folders = [], []
    for seed in range(2):
        models = {"SFT": measured([0.0, 1.0]), "DPO": measured([1.0 + seed, 2.0 + seed])}
        margins = {"DPO": np.array([1.0, -1.0]), "reward model": np.array([1.0, 1.0])}
        climb = [{"step": step, "proxy": everywhere, "gold": everywhere, "kl": everywhere} for step in (0, 4, 8)]
        repetitions.append(Repetition(models, margins, climb))
        folders.append(tmp_path / f"seed-{seed}")
        for stage in TRAINED.values():
            (folders[-1] / stage).mkdir(parents=True)
            (folders[-1] / stage / "metrics.jsonl").write_text('{"step": 1, "loss": 0.5}\n{"step": 2, "loss": 0.4}\n')
    found = summarise(QUICK, ["prefix 0", "prefix 1"], repetitions, gold_judge(), folders)
    dpo = found["models"][1]
    assert dpo["gold_vs_sft"] == pytest.approx({"mean": 1.5, "low": 1.0, "high": 2.0})
    assert len(dpo["gold_values"]) == 4
    assert (found["runs"], found["accuracy"]["mean"], found["reward_accuracy"]["mean"]) == (2, 0.5, 1.0)
    assert [(record["run"], record["step"]) for record in found["climb"]] == [
        (f"seed-{seed}", step) for seed in range(2) for step in (0, 4, 8)
    ]
    assert "2 seeded runs" in demo_page(found, tmp_path / "report.html").read_text()


def test_a_model_that_collapsed_since_sft_is_warned_of() -> None:
    """Texts "text" for every prefix are nearly the same; of SFT, that is so already."""
    varied = measured([0.0] * 40)
    words = [f"{a} {b} {a}{b}" for a in "abcdefgh" for b in "vwxyz"]
    texts = [f"{prefix} {text}" for prefix, text in zip(varied.continuations.prompts, words, strict=True)]
    healthy = replace(varied, continuations=replace(varied.continuations, texts=texts))
    same = measured([0.0] * 40)
    (warning,) = warnings_of({"base": healthy, "SFT": healthy, "DPO": same})
    assert warning.startswith("DPO may have collapsed: 100 % of its texts are nearly the same whatever the prompt (0 %")
    (warning,) = warnings_of({"base": same, "SFT": healthy, "PPO": healthy})
    assert warning == "base may have collapsed: 100 % of its texts are nearly the same whatever the prompt"
    assert len(warnings_of({"SFT": same, "DPO": same})) == 1  # of SFT alone: DPO is as it began
    assert warnings_of({"SFT": healthy, "DPO": healthy, "PPO": healthy}) == []


def test_a_summary_tells_how_a_model_writes() -> None:
    """One word a text, always the same, no log-probabilities."""
    found = model_summary("DPO", [{"SFT": measured([0.0, 2.0, 5.0]), "DPO": measured([1.0, 2.0, 3.0])}])
    assert {key: found[key] for key in ("repetition", "same", "entropy", "distinct_2_nearby")} == {
        "repetition": 0.0,
        "same": 1.0,
        "entropy": None,
        "distinct_2_nearby": 1.0,
    }


def test_a_sample_shows_every_model_with_its_score() -> None:
    shown_sample = sample(1, "prefix 1", {"SFT": measured([0.0, 2.0]), "DPO": measured([1.0, -1.0])})
    assert shown_sample == {
        "prefix": "prefix 1",
        "SFT": "prefix 1 text",
        "DPO": "prefix 1 text",
        "gold": {"SFT": 2.0, "DPO": -1.0},
    }


def test_an_interval_in_words() -> None:
    assert shown({"mean": 0.5, "low": 0.25, "high": 1.0}, " ") == "0.50 [0.25, 1.00]"
    assert shown({"mean": 0.5, "low": 0.25, "high": 1.0}, " ", ".0%") == "50% [25%, 100%]"
    assert shown(None, " ") == "—"


def test_the_reward_models_scores_and_bounds_are_told() -> None:
    """Proxy 1, 2, 3 has mean 2. The best of n has no batch of its own, and its KL is a bound."""
    plain = measured([0.0, 1.0, 2.0])
    scored = replace(plain, proxy=np.array([1.0, 2.0, 3.0]))
    picked = replace(scored, continuations=replace(plain.continuations, batch=None), kl=np.full(3, 0.7))
    repetition = {"SFT": plain, "DPO": scored, "best of 4": picked}
    sft, dpo, best = (model_summary(name, [repetition]) for name in repetition)
    assert (sft["proxy"], dpo["proxy"]["mean"]) == (None, 2.0)
    assert [one["kl_is_bound"] for one in (sft, dpo, best)] == [False, False, True]
    assert best["kl"] == pytest.approx({"mean": 0.7, "low": 0.7, "high": 0.7})


WIDE = {"mean": -1.234, "low": -1.34, "high": -1.12}


def full_row(name: str, kl_is_bound: bool = False, more: float = 0.0) -> dict:
    sure = {"mean": 1.0, "low": 0.995, "high": 1.0}
    kl = {"mean": 33.3 + more, "low": 32.1 + more, "high": 34.5 + more}
    model = {"name": name, "gold": WIDE, "gold_vs_sft": WIDE, "win_rate": sure, "proxy": WIDE, "kl": kl}
    return model | {"kl_is_bound": kl_is_bound, "length": {"mean": 22.2}, "distinct_2": 0.95}


def test_the_table_fits_a_terminal_of_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    models = [full_row("DPO on samples"), full_row("PPO", more=100.0), full_row("best of 16", True)]
    models.append(full_row("base") | {"proxy": None, "gold_vs_sft": None, "win_rate": None})
    quality = {"correlation": 0.7, "low": 0.6, "high": 0.8}
    summary = {"prefixes": 512, "models": models, "accuracy": WIDE | {"n": 650}, "reward_accuracy": WIDE}
    summary |= {"ceiling": WIDE, "gold_quality": quality, "seconds": 100.0, "peak_memory_mb": 1000}
    print_table(summary)
    printed = capsys.readouterr().out
    assert "…" not in printed
    assert max(len(line.rstrip()) for line in printed.splitlines()) <= 80
    for text in ("DPO on samples", "[-1.34, -1.12]", "[32.1, 34.5]", "[132, 134]", "[100, 100]", "≤ 33.3", "dist-2"):
        assert text in printed
