"""Results of an invented study in docs/study_onoff.md, and the page's numbers beside the plan's."""

import importlib
import json
import sys
from pathlib import Path

from report.test_onoff import study

from burnish.recipes.study.onoff.cells import every_cell
from burnish.recipes.study.onoff.control import TAIL, group_of
from burnish.recipes.study.onoff.curves import LATEST
from burnish.recipes.study.onoff.plan import CARTPOLE, CORRECTIONS, FULL, HIGH

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))
docs = importlib.import_module("study_onoff")
PAGE = (ROOT / "docs" / "study_onoff.md").read_text(encoding="utf-8")


def test_results_replace_what_stood_between_the_comments(tmp_path: Path) -> None:
    run, page = tmp_path / "run", tmp_path / "study_onoff.md"
    run.mkdir()
    (run / "weights.svg").write_text("<svg/>")
    (run / "summary.json").write_text(json.dumps(study(missing=["run 3"])))
    page.write_text("before\n<!-- results -->\nold\n<!-- /results -->\nafter\n")
    for _ in range(2):  # the second time replaces what the first has written
        docs.put(run, tmp_path)
        text = page.read_text(encoding="utf-8")
        assert text.startswith("before\n<!-- results -->\n`burnish study onoff`\n")
        assert text.endswith("\n<!-- /results -->\nafter\n")
        assert "\nold\n" not in text
        assert "- Missing so far: run 3." in text
        assert "| DQN, CartPole | 410.0 [401.0, 419.0] | 475 | 8 of 10 | 23,400 | 12.0 [11.0, 13.0] |" in text
        assert (
            "| CartPole | 8 | 200 | 20 [15, 25] | 10 [9, 11] | 1.50 [1.40, 1.60] | 0.250 [0.240, 0.260] | 10 |" in text
        )
        assert "| Language | 8 | No correction | −0.50 [−0.70, −0.30] | −1.50 [−1.70, −1.30] |  | 10 |" in text
        assert "| CartPole | 0 |  | 150.0 [149.8, 150.2] |  |  | 10 |" in text
    assert (tmp_path / "study_onoff_weights.svg").read_text() == "<svg/>"
    assert not (tmp_path / "study_onoff_late.svg").exists()
    (run / "summary.json").write_text(json.dumps(study(late=[])))
    docs.put(run, tmp_path)
    assert "study_onoff_late.svg" not in page.read_text(encoding="utf-8")


def test_the_page_has_the_plans_numbers() -> None:
    control = group_of(FULL, CARTPOLE, "ppo", 0, FULL.late_steps).method
    listed = lambda some: ", ".join(map(str, some[:-1])) + f" and {some[-1]}"  # noqa: E731
    assert f"{len([*every_cell(FULL)])} trainings" in PAGE
    assert f"| {FULL.runs} runs of PPO and DQN" in PAGE
    assert "{:,} and {:,} environment steps each".format(*FULL.steps.values()) in PAGE
    assert f"a run's latest {LATEST} episodes" in PAGE
    assert TAIL == 0.2
    turn = control.control.copies * control.control.rollout
    assert f"{turn} steps with up to {control.algorithm.update_epochs} passes, of RLOO {FULL.texts} completions" in PAGE
    assert f"(up to {control.control.rollout} actions)" in PAGE
    assert (
        f"at most {FULL.longest} steps, k = {listed(FULL.lags)}, {FULL.runs} runs of {FULL.late_steps:,} steps" in PAGE
    )
    assert f"{FULL.updates} updates of {FULL.texts} completions of at most {FULL.max_new_tokens} tokens" in PAGE
    assert f"{FULL.group} of each prefix" in PAGE
    assert f"k = {listed(FULL.language_lags)}, {FULL.language_runs} runs" in PAGE
    assert f"{FULL.held_out} held-out prefixes" in PAGE
    assert f"{FULL.episodes} whole episodes" in PAGE
    assert f"policies of {listed(FULL.lags)} turns later, for the first {listed(FULL.counts)} actions" in PAGE
    assert len(FULL.anchors) == len(FULL.language_anchors) == 3
    assert f"min(Π_t π_old(a_t)/μ(a_t), {HIGH:g})" in PAGE
    assert FULL.learning_rate == 1e-4
    assert all(f"| {name.lower()} |" in PAGE for name in CORRECTIONS.values())
