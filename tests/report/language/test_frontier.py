"""The page of an invented study of the frontier, read as a reader's browser would."""

import json
from pathlib import Path
from typing import Any

import pytest
from reading import Page

from burnish.report import figures
from burnish.report.language.frontier import (
    colours_of,
    dashes_of,
    far,
    frontier_chart,
    frontier_page,
    outside,
    over_time,
    seconds_chart,
)
from burnish.run import UserError

from ..conftest import interval

LABELS = {"dpo": "DPO", "ppo": "PPO", "best_of_n": "Best of n"}
SCALARS = {"length": 14.0, "entropy": 3.2, "distinct_2": 0.9, "ended": 0.99, "chosen": -40.0, "rejected": -41.0}


def study(**changes: Any) -> dict[str, Any]:
    """A study as `burnish study frontier` writes it: PPO is above DPO at both levels, the best of n undecided."""
    points = [
        {"name": name, "value": 0.1, "seed": seed, "step": step, "bound": name == "best_of_n", "diverged": None}
        | {"kl": 0.02 * step, "kl_se": 0.1, "gold": 0.1 + 0.01 * step, "gold_se": 0.05}
        | {"seconds": None if name == "best_of_n" else 2.0 * step + seed}
        | SCALARS
        for name in LABELS
        for seed in range(3)
        for step in (16, 96)
    ]
    line = [{"kl": kl, **interval(gold, 0.05)} for kl, gold in ((0.0, 0.1), (0.3, 0.3), (1.9, 1.0))]
    rows = [
        {"name": "dpo", "gold": interval(0.5, 0.1), "difference": None, "settings": ["0.1", "1"]},
        {"name": "ppo", "gold": interval(0.9, 0.1), "difference": interval(0.4, 0.1), "settings": ["3"]},
        {"name": "best_of_n", "gold": interval(0.45, 0.1), "difference": interval(-0.05, 0.1), "settings": ["all"]},
    ]
    rows = [one | {"paired": 3 if one["difference"] else 0, "rival": None, "rival_paired": 0} for one in rows]
    ends = [
        {"name": "dpo", "value": 0.1, "setting": "DPO, β 0.1", "seeds": 3, "gold": 1.0, "kl": 1.9}
        | {"diverged": []}
        | {key: SCALARS[key] for key in ("length", "entropy", "distinct_2", "ended")}
        | {"chosen_moved": interval(-5.5, 1.5), "rejected_moved": interval(-9.5, 0.5)}
    ]
    plan = {"seeds": 3, "levels": [0.5, 1.5], "held_out": 192, "sft_steps": 100, "prefixes": 512, "completions": 4}
    plan |= {"scale": 0.5, "steps": 96, "texts": 64, "learning_rate": 1e-4, "eval_every": 16, "held_pairs": 96}
    return {
        "plan": plan,
        "labels": LABELS,
        "seeds": dict.fromkeys(LABELS, 3),
        "without": {},
        "reference": "dpo",
        "rival": None,
        "start": {"pairs": 3000, "agreed": 0.82, "gold": interval(0.1, 0.05), "seeds": 3} | SCALARS,
        "points": points,
        "lines": dict.fromkeys(LABELS, line),
        "levels": [{"level": level, "rows": rows} for level in (0.5, 1.5)],
        "ends": ends,
        "costs": {"dpo": {"seconds": 98.7, "wall": 123.4, "sampled": 0.0, "learned": 234567.8, "runs": 6}},
        "diverged": [],
        "stopped": [],
        "missing": [],
        "failures": {},
        "command": "burnish study frontier --seeds 3",
    } | changes


def rivalled() -> dict[str, Any]:
    """A study with RLOO too, which is below PPO by 0.3 ± 0.1 at the second level and undecided at the first."""
    found = study()
    levels = [
        one
        | {
            "rows": [
                *one["rows"],
                {"name": "rloo", "gold": interval(0.6, 0.1), "difference": interval(0.1, 0.2), "settings": ["0.05"]}
                | {"paired": 3, "rival": interval(-0.3, width), "rival_paired": 3},
            ]
        }
        for one, width in zip(found["levels"], (0.4, 0.1), strict=True)
    ]
    labels, seeds = LABELS | {"rloo": "RLOO"}, found["seeds"] | {"rloo": 3}
    return found | {"labels": labels, "seeds": seeds, "rival": "ppo", "levels": levels}


def written(folder: Path, found: dict[str, Any]) -> Page:
    (folder / "summary.json").write_text(json.dumps(found))
    return Page(frontier_page(folder))


def test_the_page_has_every_number_and_figure(tmp_path: Path) -> None:
    page = written(tmp_path, study(missing=["seed 2, KTO, β 0.1"]))
    for part in (
        "+0.40",
        "0.80 to 1.00",
        "234,568",
        "−5.5 −7.0 to −4.0",
        "Missing so far: seed 2, KTO, β 0.1.",
        "σ(difference",
    ):
        assert part in page.text, part
    assert "burnish study frontier --seeds 3" in page.text
    names = [f"{name}.{kind}" for name in ("frontier", "frontier_seconds") for kind in ("png", "svg")]
    assert all((tmp_path / name).stat().st_size > 1000 for name in names)


def test_the_page_names_the_test_and_compares_with_ppo_where_there_is_a_rival(tmp_path: Path) -> None:
    page = written(tmp_path, rivalled())
    for part in ("minus PPO", "−0.30 −0.40 to −0.20", "a paired bootstrap test at 5 %, two-sided"):
        assert part in page.text, part
    assert "minus PPO" not in written(tmp_path, study()).text


def test_an_unfinished_study_of_one_seed_has_points_and_no_band(tmp_path: Path) -> None:
    bare = {"mean": 0.5, "low": None, "high": None}
    rows = [{"name": "dpo", "gold": bare, "difference": None, "paired": 0, "rival": None, "settings": ["0.1"]}]
    rows.append({"name": "ppo", "gold": None, "difference": None, "paired": 0, "rival": None, "settings": []})
    found = study(
        seeds={"dpo": 1, "ppo": 0, "best_of_n": 0},
        lines={"dpo": [{"kl": 0.0, **bare}, {"kl": 1.0, **bare}]},
        levels=[{"level": 0.5, "rows": rows}],
        start=None,
    )
    assert "not finished" in written(tmp_path, found).text
    spec = figures.to_spec(frontier_chart(found, ["dpo", "ppo"], colours_of(LABELS), "", 200))
    marks = [layer["mark"]["type"] for layer in spec["layer"]]
    assert marks == ["line", "point"]  # of the best of n nothing is asked for
    assert "DPO: 0.50 within 1 nats (1 of 3 seeds); PPO: not finished" in spec["description"]


def test_every_point_is_drawn_and_what_lies_beyond_is_said() -> None:
    """The axis ends at three times the largest level, 4.5 nats; the points lie at 0.32 and 1.92, but one of each
    method lies at 40."""
    found = study()
    assert (far(found), outside(found)) == (pytest.approx(1.05 * 1.92), None)
    for one in found["points"]:
        one["kl"] = 40.0 if (one["seed"], one["step"]) == (2, 96) else one["kl"]
    assert far(found) == pytest.approx(4.5)
    assert outside(found) == (
        "3 points lie beyond 4.5 nats and are not drawn, of DPO, PPO and Best of n: up to 40.0 nats."
    )
    spec = figures.to_spec(frontier_chart(found, list(LABELS), colours_of(LABELS), "", 200))
    assert [layer["mark"].get("filled") for layer in spec["layer"]] == [None, None, True, False]
    dots = [row for rows in spec["datasets"].values() for row in rows if "setting" in row]
    assert len(dots) == 15
    assert {row["KL"] for row in dots if row["name"] == "Best of n"} == {"at most 0.32", "at most 1.92"}
    assert {row["KL"] for row in dots if row["name"] == "DPO"} == {"0.32 ± 0.10", "1.92 ± 0.10"}


def test_gold_against_seconds_is_a_mean_of_the_seeds_that_a_setting_has() -> None:
    """Seeds 0 to 2 measure after 2 · 16 and 2 · 96 seconds and their own number more. Without seed 2's last measurement
    of PPO its line ends at the first."""
    found = study()
    rows = over_time(found)
    assert [(one["setting"], one["x"], one["y"], one["seeds"]) for one in rows] == [
        (f"{label} 0.1", pytest.approx(2 * step + 1), pytest.approx(0.1 + 0.01 * step), 3)
        for label in ("DPO", "PPO")
        for step in (16, 96)
    ]
    found["points"] = [one for one in found["points"] if (one["name"], one["seed"], one["step"]) != ("ppo", 2, 96)]
    assert [one["setting"] for one in over_time(found)] == ["DPO 0.1", "DPO 0.1", "PPO 0.1"]
    spec = figures.to_spec(seconds_chart(found, colours_of(LABELS), 200))
    assert [layer["mark"]["type"] for layer in spec["layer"]] == ["line", "point"]
    assert spec["layer"][0]["encoding"]["color"]["scale"]["domain"] == ["DPO", "PPO"]  # and not the best of n
    assert spec["description"] == (
        "gold score against CPU seconds of training, the reward model's included. DPO 0.1: 1.06 after 193 seconds; "
        "PPO 0.1: 0.26 after 33 seconds."
    )


def test_trainings_that_diverged_are_crosses_and_say_their_step(tmp_path: Path) -> None:
    """Of seed 1, PPO: its two points are crosses, the others of PPO and DPO filled, those of the best of n hollow."""
    found = study(seeds={"dpo": 3, "ppo": 2, "best_of_n": 3}, without={"ppo": {"seeds": [1], "settings": []}})
    for one in found["points"]:
        one["diverged"] = 40 if (one["name"], one["seed"]) == ("ppo", 1) else None
    found["ends"][0] |= {"seeds": 2, "diverged": [{"seed": 1, "step": 40}]}
    spec = figures.to_spec(frontier_chart(found, list(LABELS), colours_of(LABELS), "", 200))
    dots = [spec["datasets"][layer["data"]["name"]] for layer in spec["layer"][2:]]
    assert [len(rows) for rows in dots] == [10, 6, 2]
    assert [layer["mark"].get("shape") for layer in spec["layer"][2:4]] == [None, None]
    assert spec["layer"][4]["mark"]["shape"].startswith("M")
    assert [row["setting"] for row in dots[2]] == [
        f"PPO 0.1, seed 1, step {step} (diverged at step 40)" for step in (16, 96)
    ]
    assert "PPO: 1.00 within 1.9 nats (2 of 3 seeds)" in spec["description"]
    text = written(tmp_path, found).text
    for part in ("Crosses are measurements of trainings that diverged", "2 of 3 seeds; seed 1 diverged at step 40"):
        assert part in text, part
    assert "Crosses" not in written(tmp_path, study()).text


def test_a_method_whose_every_seed_diverged_is_not_unfinished(tmp_path: Path) -> None:
    found = study(seeds={"dpo": 3, "ppo": 0, "best_of_n": 3}, without={"ppo": {"seeds": [0, 1, 2], "settings": []}})
    found["lines"] = {name: line for name, line in found["lines"].items() if name != "ppo"}
    nothing = {"name": "ppo", "gold": None, "difference": None, "rival": None, "settings": [], "paired": 0}
    found["levels"] = [one | {"rows": [one["rows"][0], nothing]} for one in found["levels"]]
    spec = figures.to_spec(frontier_chart(found, list(LABELS), colours_of(LABELS), "", 200))
    assert "PPO: diverged" in spec["description"]
    text = written(tmp_path, found).text
    assert "not finished" not in text
    assert "0 of 3 seeds" in text


def test_the_saved_figure_alone_says_what_it_does_not_have(tmp_path: Path) -> None:
    """The page's own chart has the page around it."""
    missing = [f"seed {seed}, KTO, β 0.1" for seed in range(6)]
    found = study(
        seeds={"dpo": 3, "ppo": 2, "best_of_n": 1},
        missing=missing,
        failures={"seed 0, SFT": "no"},
        stopped=["seed 2, Best of n"],
        diverged=[{"setting": "PPO, KL target 9", "seed": 1, "step": 40}],
    )
    title = figures.to_spec(frontier_chart(found, list(LABELS), colours_of(LABELS), "Figure", 200, legend=True))[
        "title"
    ]
    assert title == {
        "text": "Figure",
        "subtitle": [
            f"Missing so far: {'; '.join(missing[:4])} … and 2 more.",
            "Failed: seed 0, SFT.",
            "Not computed, because their reward model diverged: seed 2, Best of n.",
            "Diverged, points until then are crosses: PPO, KL target 9, seed 1, at step 40.",
            "Of fewer seeds: PPO, 2 of 3 seeds; Best of n, 1 of 3 seeds.",
        ],
    }
    bare = figures.to_spec(frontier_chart(found, list(LABELS), colours_of(LABELS), "Figure", 200))
    assert bare["title"] == "Figure"
    whole = figures.to_spec(frontier_chart(study(), list(LABELS), colours_of(LABELS), "Figure", 200, legend=True))
    assert whole["title"] == "Figure"
    written(tmp_path, found)
    svg = (tmp_path / "frontier.svg").read_text()
    for part in ("Reward against KL", "Missing so far", "seed 1, at step 40", "PPO, 2 of 3 seeds"):
        assert part in svg, part


def test_methods_that_share_a_colour_differ_in_their_dashes() -> None:
    colours = colours_of({f"m{i}": f"M{i}" for i in range(9)} | {"sft": "SFT", "best_of_n": "Best of n"})
    looks = list(zip(colours.values(), map(str, dashes_of(colours)), strict=True))
    assert len(set(looks)) == len(looks) == 11


def test_a_folder_without_a_summary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no summary\.json: give the folder of burnish study frontier"):
        frontier_page(tmp_path)
