"""Results of an invented study in docs/study_overoptimise.md, and the page's numbers beside the plan's."""

import importlib
import json
import sys
from pathlib import Path

from report.language.test_overoptimise import monitor, row, study

from burnish.evaluation.best_of_n import best_of_n_kl
from burnish.recipes.study.overoptimise.plan import FULL

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))
docs = importlib.import_module("study_overoptimise")
PAGE = (ROOT / "docs" / "study_overoptimise.md").read_text(encoding="utf-8")


def test_results_replace_what_stood_between_the_comments(tmp_path: Path) -> None:
    run, page = tmp_path / "run", tmp_path / "study_overoptimise.md"
    run.mkdir()
    for name in docs.FIGURES:
        (run / name).write_text("<svg/>")
    bare = {"mean": 0.5, "low": None, "high": None}
    alone = row("ppo", 4000, seeds=1, compared=1, reached=[3.0, 3.0], end=bare, claimed=bare, fall=bare)
    alone["fit"] |= {"alpha": bare, "beta": bare, "peak": {"mean": None, "low": None, "high": None}}
    (run / "summary.json").write_text(json.dumps(study(rows=[row("ppo", 250), alone], monitor=monitor())))
    page.write_text("before\n<!-- results -->\nold\n<!-- /results -->\nafter\n")
    for _ in range(2):  # the second time replaces what the first has written
        docs.put(run, tmp_path)
        text = page.read_text(encoding="utf-8")
        assert text.startswith("before\n<!-- results -->\n`burnish study overoptimise --seeds 3`\n")
        assert text.endswith("\n<!-- /results -->\nafter\n")
        assert "\nold\n" not in text
        assert (
            "| PPO | 250 | 2.00 [1.90, 2.10] | 0.50 [0.40, 0.60] | 2.00 [1.75 to 2.25] | 0.07 | 3.00 | 2.50 to 3.00 | "
            "+1.20 [+1.00, +1.40] | +6.50 [+6.00, +7.00] | +0.80 [+0.70, +0.90] | 3 |" in text
        )
        assert "| PPO | 4,000 | 0.50 | 0.50 | none | 0.07 | 3.00 | 3.00 | +0.50 | +0.50 | +0.50 | 1 |" in text
        rates = "1 of 2 (25 to 75 %) | 1 of 3 (13 to 53 %) | 1 of 2 (20 to 80 %) | 18 |"
        assert f"| PPO | length | below 0.67 or above 1.50 | {rates}" in text
        said = "\nFilled points are gold, hollow ones what the proxy claims. Solid lines are fits of gold"
        assert text.index(said) < text.index("![gold and proxy")
        assert "\n    so good <b>so good</b>\n" in text
    assert (tmp_path / "study_overoptimise_ppo.svg").read_text() == "<svg/>"


def test_the_page_has_the_plans_numbers() -> None:
    for part in (
        f"after {FULL.sft_steps} updates of SFT",
        f"{FULL.completions} completions of each of {FULL.prefixes:,} prefixes",
        f"at most {FULL.max_new_tokens} tokens",
        f"scale {FULL.scale:g}",
        f"one pool of at most {FULL.prefixes * FULL.completions // 2:,} pairs. Of the pairs of one seed's "
        f"{FULL.labels[-1]:,} labels",
        "reward models of {:,}, {:,} and {:,} labels".format(*FULL.labels),
        f"{FULL.epochs} passes in batches of {FULL.texts // 2} from the start",
        "n of {}, {}, {}, {}, {}, {}, {}, {} and {}, ".format(*FULL.sizes),
        f"{FULL.steps} updates of {FULL.texts} texts, rollouts of {FULL.rollout} completions",
        f"KL penalty {FULL.beta:g}",
        f"trainings every {FULL.eval_every} updates, on {FULL.held_out} held-out prefixes",
        f"| {FULL.seeds} seeds",
    ):
        assert part in PAGE, part
    assert (FULL.reward_rate, FULL.learning_rate, FULL.warmup) == (3e-4, 1e-4, 0.1)
    assert f"60,000, d = {best_of_n_kl(60_000) ** 0.5:.1f}; 256 is d = {best_of_n_kl(256) ** 0.5:.1f}" in PAGE
