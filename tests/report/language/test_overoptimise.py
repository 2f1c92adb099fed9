"""The page of an invented study of over-optimisation, read as a reader's browser would."""

import json
from pathlib import Path
from typing import Any

import pytest
from reading import Page

from burnish.report import figures, theme
from burnish.report.language.overoptimise import distance_chart, overoptimise_page
from burnish.report.language.overoptimise_words import proxy_name
from burnish.run import UserError

from ..conftest import interval

METHODS = {"best_of_n": "Best of n", "ppo": "PPO"}
SCALARS = {"length": 14.0, "entropy": 3.2, "distinct_2": 0.9, "ended": 0.99}


def row(method: str, labels: int, **changes: Any) -> dict[str, Any]:
    """A row of which gold has fallen by 0.8 ± 0.1, from a fit that peaks before the end."""
    curve = [{"d": d, "gold": d * (2 - d / 2), "low": d - 0.1, "high": d + 0.1} for d in (0.0, 1.5, 3.0)]
    fit = {"alpha": interval(2.0, 0.1), "beta": interval(0.5, 0.1), "peak": interval(2.0, 0.25)}
    found: dict[str, Any] = {"method": method, "labels": labels, "seeds": 3, "far": 3.0, "last": 192, "best": [96]}
    found |= {"compared": 3, "without": [], "cut": [], "reached": [2.5, 3.0]}
    found |= {"fit": fit | {"rms": 0.07, "within": "yes", "curve": curve}}
    found |= {"end": interval(1.2, 0.2), "claimed": interval(6.5, 0.5), "fall": interval(0.8, 0.1)}
    state = [SCALARS | {"repetition": one} for one in (0.001, 0.437)]
    found["state"] = state if method == "ppo" else None
    return found | {"gap": interval(5.3, 0.5)} | changes


def study(**changes: Any) -> dict[str, Any]:
    """A study as `burnish study overoptimise` writes it."""
    points = [
        {"method": method, "labels": labels, "seed": seed, "step": step, "d": step / 64, "diverged": None}
        | {"kl": (step / 64) ** 2, "kl_se": 0.2, "gold": 1.0, "gold_se": 0.1, "proxy": step / 30, "proxy_se": 0.05}
        | SCALARS
        for method in METHODS
        for labels in (250, 4000)
        for seed in range(3)
        for step in (0, 96, 192)
    ]
    plan = {"labels": [250, 4000], "sizes": [1, 2, 256], "seeds": 3, "held_out": 128, "sft_steps": 100, "epochs": 3}
    plan |= {"prefixes": 2048, "completions": 8, "scale": 0.5, "reward_rate": 3e-4, "steps": 192, "texts": 64}
    plan |= {"learning_rate": 1e-4, "beta": 0.0, "eval_every": 12}
    change = {"few": 250, "many": 4000, "end": interval(0.5, 0.2), "last": 192, "seeds": 3}
    change |= {"alpha": interval(0.1, 0.2), "beta": interval(-0.3, 0.1)}
    return {
        "plan": plan,
        "methods": METHODS,
        "start": {"pairs": 6900, "agreed": 0.82},
        "rewards": [
            {"labels": 250, "seeds": 3, "correct": interval(0.655, 0.03), "fitted": 0.99},
            {"labels": 4000, "seeds": 3, "correct": interval(0.755, 0.03), "fitted": 0.86},
        ],
        "points": points,
        "rows": [row(method, labels) for method in METHODS for labels in (250, 4000)],
        "differences": [{"method": method} | change for method in METHODS],
        "texts": [{"labels": 250, "seed": 0, "step": 192, "texts": ["so good <b>so good</b>"]}],
        "costs": {"ppo": {"seconds": 987.6, "wall": 1234.5, "sampled": 234567.8, "learned": 345678.9, "runs": 6}},
        "diverged": [],
        "gaps": {method: {key: [] for key in ("missing", "failed", "stopped", "diverged")} for method in METHODS},
        "stopped": [],
        "missing": [],
        "failures": {},
        "command": "burnish study overoptimise --seeds 3",
    } | changes


def monitor(**changes: Any) -> dict[str, Any]:
    """What the monitor said of five runs of PPO, two of them hacked and two clean, and of a clean DPO."""
    some = {"early": interval(0.5, 0.3), "before": 2}
    none = {"clean": 0, "hacked": 0, "before": 0, "delay": None, "detected": None, "false": None, "early": None}
    rows = [
        {"method": "ppo", "signal": "length", "threshold": "below 0.67 or above 1.50"}
        | {"clean": 3, "hacked": 2, "delay": 18.0, "detected": interval(0.5, 0.25), "false": interval(1 / 3, 0.2)}
        | some,
        {"method": "dpo", "signal": "any", "threshold": ""} | none,
    ]
    counts = [
        {"method": "ppo", "runs": 5, "hacked": 2, "clean": 2},
        {"method": "dpo", "runs": 1, "hacked": 0, "clean": 1},
    ]
    return {"rows": rows, "counts": counts, "runs": [{"seed": seed} for seed in range(6)]} | changes


def written(folder: Path, found: dict[str, Any]) -> Page:
    (folder / "summary.json").write_text(json.dumps(found))
    return Page(overoptimise_page(folder))


def test_the_page_has_every_number_and_figure(tmp_path: Path) -> None:
    page = written(tmp_path, study(missing=["seed 2, best of n"]))
    for part in (
        "4,000 labels",
        "1.75 to 2.25",
        "+6.50",
        "0.07",
        "44 %",
        "234,568",
        "Missing so far: seed 2, best of n.",
    ):
        assert part in page.text, part
    assert "so good <b>so good</b>" in page.text  # as the policy wrote it
    assert "burnish study overoptimise --seeds 3" in page.text
    for method in METHODS:
        assert all((tmp_path / f"overoptimise_{method}.{kind}").stat().st_size > 1000 for kind in ("png", "svg"))


def test_the_table_has_half_infinite_peaks_and_both_distances(tmp_path: Path) -> None:
    """Beside the seeds that are compared at the end."""
    rows = [row("ppo", 250, reached=[2.5, 2.9]), row("ppo", 4000, compared=2, without=[1])]
    rows[1]["fit"]["peak"] = {"mean": None, "low": 4.25, "high": None}
    page = written(tmp_path, study(rows=rows))
    for part in ("none 4.25 or farther", "2.50 to 2.90", "d that all seeds reach", "2 of 3"):
        assert part in page.text, part
    rows[1] |= {"seeds": 1, "compared": 1, "without": []}
    assert "or farther" not in written(tmp_path, study(rows=rows, differences=[])).text.split("Fits")[-1]


def test_the_page_has_the_rates_of_the_monitor(tmp_path: Path) -> None:
    page = written(tmp_path, study(monitor=monitor()))
    for part in ("How often the monitor warns", "1 of 2 (25 to 75 %)", "no run"):
        assert part in page.text, part
    assert "Of 5 runs of PPO 2 are hacked, 2 clean and 1 neither" in page.text
    for nothing in (study(), study(monitor={"rows": [], "counts": [], "runs": []})):
        assert "the monitor" not in written(tmp_path, nothing).text


def test_a_figure_alone_says_what_is_gold() -> None:
    colours = theme.series_colours([proxy_name(labels) for labels in (250, 4000)])
    title = figures.to_spec(distance_chart(study(), "ppo", colours, legend=True))["title"]
    assert title == {"text": "PPO", "subtitle": "Filled points are gold, hollow ones what the proxy claims."}
    spec = figures.to_spec(distance_chart(study(), "ppo", colours))
    assert spec["title"] == "PPO"
    assert "250 labels: gold +1.20 and the proxy +6.50 after update 192, d = 2.50 to 3.00;" in spec["description"]


def test_a_figure_alone_says_what_it_does_not_have() -> None:
    """Of its method; the other's is whole. What diverged has crosses at its points of gold."""
    colours = theme.series_colours([proxy_name(labels) for labels in (250, 4000)])
    nothing = {key: [] for key in ("missing", "failed", "stopped", "diverged")}
    lost = {"missing": ["seed 2, PPO, 250 labels"], "diverged": ["seed 1, PPO, 4,000 labels, at step 100"]}
    found = study(
        gaps={"ppo": nothing | lost, "best_of_n": nothing}, rows=[row("ppo", 250, seeds=2), row("best_of_n", 250)]
    )
    for one in found["points"]:
        one["diverged"] = 100 if (one["method"], one["labels"], one["seed"]) == ("ppo", 4000, 1) else None
    spec = figures.to_spec(distance_chart(found, "ppo", colours, legend=True))
    assert spec["title"]["subtitle"] == [
        "Filled points are gold, hollow ones what the proxy claims.",
        "Missing so far: seed 2, PPO, 250 labels.",
        "Diverged, points until then are crosses: seed 1, PPO, 4,000 labels, at step 100.",
        "Of fewer seeds: 250 labels, 2 of 3 seeds; 4,000 labels, 0 of 3 seeds.",
    ]
    crosses = spec["datasets"][spec["layer"][-1]["data"]["name"]]
    assert [one["point"] for one in crosses] == [
        f"seed 1, update {step} (diverged at update 100)" for step in (0, 96, 192)
    ]
    filled = spec["datasets"][spec["layer"][-2]["data"]["name"]]
    assert len(filled) == 18 - 3
    best = figures.to_spec(distance_chart(found, "best_of_n", colours, legend=True))
    assert best["title"]["subtitle"][1:] == ["Of fewer seeds: 4,000 labels, 0 of 3 seeds."]


def test_an_unfinished_study_of_one_seed_has_points_and_no_band(tmp_path: Path) -> None:
    bare = {"mean": 0.5, "low": None, "high": None}
    curve = [{"d": d, "gold": d, "low": None, "high": None} for d in (0.0, 3.0)]
    fit = dict.fromkeys(("alpha", "beta", "peak"), bare) | {"rms": 0.1, "within": None, "curve": curve}
    fit["peak"] = {"mean": None, "low": None, "high": None}
    rows = [row("ppo", 250, seeds=1, compared=1, fit=fit, end=bare, claimed=bare, fall=bare, gap=bare)]
    rows.append(row("ppo", 4000, seeds=1, compared=1, fit=None, end=bare, claimed=bare, fall=bare, gap=bare))
    rewards = [{"labels": labels, "seeds": 0, "correct": None, "fitted": None} for labels in (250, 4000)]
    points = [one for one in study()["points"] if one["method"] == "ppo" and one["seed"] == 0]
    found = study(rows=rows, rewards=rewards, points=points, differences=[], start=None, texts=[], costs={})
    page = written(tmp_path, found)
    assert "Of fewer than two seeds there is no interval" in page.text
    colours = theme.series_colours([proxy_name(labels) for labels in (250, 4000)])
    spec = figures.to_spec(distance_chart(found, "ppo", colours))
    assert [layer["mark"]["type"] for layer in spec["layer"]] == ["line", "line", "point", "point"]
    empty = figures.to_spec(distance_chart(found, "best_of_n", colours))
    assert empty["description"].endswith("Not finished.")


def test_every_point_is_drawn_twice_and_says_whether_its_kl_is_a_bound() -> None:
    colours = theme.series_colours([proxy_name(labels) for labels in (250, 4000)])
    tips = {}
    for method in METHODS:
        spec = figures.to_spec(distance_chart(study(), method, colours))
        assert [layer["mark"]["type"] for layer in spec["layer"]] == ["area", "line", "line", "point", "point"]
        dots = [spec["datasets"][layer["data"]["name"]] for layer in spec["layer"][3:]]
        assert [len(rows) for rows in dots] == [18, 18]
        assert [{one["kind"] for one in rows} for rows in dots] == [{"the proxy's claim"}, {"gold"}]
        tips[method] = dots[1][1]
    assert (tips["best_of_n"]["KL"], tips["best_of_n"]["point"]) == ("at most 2.25", "seed 0, n = 96")
    assert (tips["ppo"]["KL"], tips["ppo"]["point"]) == ("2.25 ± 0.20", "seed 0, update 96")
    assert (tips["ppo"]["gold"], tips["ppo"]["claim"]) == ("+1.00 ± 0.10", "+3.20 ± 0.05")


def test_a_folder_without_a_summary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no summary\.json: give the folder of burnish study overoptimise"):
        overoptimise_page(tmp_path)
