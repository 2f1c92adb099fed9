"""The page of an invented study, read as a reader's browser would."""

import json
from pathlib import Path
from typing import Any

import pytest
from reading import Page

from burnish.report import figures
from burnish.report.language.checked import checked_page, colours_of, curves_chart, gains_chart, padded
from burnish.run import UserError

from ..conftest import interval

LABELS = {"grpo": "GRPO", "ppo": "PPO", "sft": "More SFT"}


def row(name: str, pass_1: float, pass_n: float) -> dict[str, Any]:
    more = {"tokens": 12345.6, "seconds": 78.9, "silent_first": 0.25, "silent_last": 0.5}
    if name in ("ppo", "sft"):
        more |= {"silent_first": None, "silent_last": None, "pass_1_difference": interval(-0.1, 0.02)}
    if name == "start":
        more = {}
    else:
        more |= {"pass_1_gain": interval(pass_1 - 0.3, 0.05), "pass_n_gain": interval(pass_n - 0.9, 0.05)}
    grades = {"pass_1": interval(pass_1, 0.02), "pass_n": interval(pass_n, 0.01), "length": 8.0, "entropy": 0.4}
    return {"name": name} | grades | more


def study(tasks: tuple[str, ...] = ("reverse", "letter_count"), **changes: Any) -> dict[str, Any]:
    """A study as `burnish study checked` writes it: GRPO gains, PPO is undecided, more SFT loses."""
    rows = [row("start", 0.3, 0.9), row("grpo", 0.6, 0.92), row("ppo", 0.31, 0.9), row("sft", 0.2, 0.7)]
    points = [
        {"name": name, "rollouts": i, "tokens": 1000.0 * i, "seconds": 2.0 * i, **interval(0.3 + 0.1 * i, 0.02)}
        for name in LABELS
        for i in range(3)
    ]
    parts = [*tasks, *(["all"] if len(tasks) > 1 else [])]
    lessons = {"least": 0.2, "most": 0.5}
    plan = {"samples": 64, "lessons": lessons, "rollouts": 80, "completions": 128, "group": 8, "batch_size": 64}
    return {
        "plan": plan | {"prompts": 200, "search_rollouts": 40, "rate": 3e-4},
        "tasks": list(tasks),
        "seeds": dict.fromkeys(tasks, 5),
        "demonstrations": dict.fromkeys(tasks, 300),
        "labels": LABELS,
        "reference": "grpo",
        "rates": {key: {"grpo": 0.0001, "ppo": 0.001, "sft": 0.0001} for key in tasks},
        "search": [
            {"task": task, "method": name, "rate": rate, "accuracy": 0.5}
            for task in tasks
            for name in LABELS
            for rate in ((3e-3, 1e-4) if name == "sft" else (1e-4, 1e-3))
        ],
        "results": dict.fromkeys(parts, rows),
        "curves": dict.fromkeys(parts, points),
        "failures": {},
        "command": "burnish study checked --seeds 5",
    } | changes


def written(folder: Path, found: dict[str, Any]) -> Page:
    (folder / "summary.json").write_text(json.dumps(found))
    return Page(checked_page(folder))


def test_the_page_has_every_number_and_figure(tmp_path: Path) -> None:
    page = written(tmp_path, study(failures={"sort, seed 1, PPO": "killed"}))
    text = page.text
    for part in ("Mean of the 2 tasks", "Reverse", "Letter count", "12,346", "25 to 50", "+30.0", "reverse 300"):
        assert part in text, part
    assert "sort, seed 1, PPO failed, and its seed is left out: killed" in text
    assert "burnish study checked --seeds 5" in text
    for stem in ("gain_pass_1", "gain_pass_n", "curves"):
        assert all((tmp_path / f"{stem}.{kind}").stat().st_size > 1000 for kind in ("png", "svg"))


def test_one_task_without_a_search(tmp_path: Path) -> None:
    text = written(tmp_path, study(("reverse",), search=[])).text
    assert "it was not searched for" in text
    assert "Mean of" not in text


def test_every_method_has_a_colour_of_its_own() -> None:
    names = ["rloo", "grpo", "dr_grpo", "gspo", "cispo", "reinforce_plus_plus", "ppo", "rejection", "sft"]
    assert len(set(colours_of({name: name for name in names}).values())) == 9


def test_charts_that_are_compared_have_one_axis() -> None:
    found = study()
    colours = colours_of(LABELS)
    specs = [
        figures.to_spec(curves_chart(found, "reverse", axis, names, colours))
        for axis, names in (("tokens", ["grpo"]), ("seconds", ["ppo", "sft"]))
    ]
    domains = [spec["layer"][1]["encoding"]["y"]["scale"]["domain"] for spec in specs]
    assert domains[0] == domains[1] == pytest.approx([0.28 - 0.08 * 0.24, 0.52 + 0.08 * 0.24])
    steps = [one["step"] for rows in specs[1]["datasets"].values() for one in rows]
    assert steps == [0, 2, 4] * 2


def test_the_line_before_is_the_pupils() -> None:
    spec = figures.to_spec(gains_chart(study(), "reverse", "pass_n", colours_of(LABELS)))
    assert {"at": 0.9, "label": "before"} in [one for rows in spec["datasets"].values() for one in rows]
    assert "pass@64 after training: GRPO 92%, PPO 90%, More SFT 70%; before 90%." in spec["description"]


def test_shares_stay_on_the_axis() -> None:
    assert padded(0.0, 1.0) == (-0.02, 1.02)
    assert padded(0.5, 0.5) == (0.49, 0.51)


def test_a_folder_without_a_summary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no summary\.json: give the folder of burnish study checked"):
        checked_page(tmp_path)
