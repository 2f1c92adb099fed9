"""Put the results of `burnish study frontier` into docs/study_frontier.md: give its folder, as runs/frontier.

The tables stand between two comments, `<!-- results -->` and `<!-- /results -->`; the figure is copied beside the page.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS), str(DOCS.parent / "src")]

import studies  # noqa: E402

from burnish.report import wording  # noqa: E402
from burnish.report.language.frontier import costs, outside, unfinished  # noqa: E402
from burnish.report.language.frontier_words import (  # noqa: E402
    displaced,
    end_seeds,
    of_seeds,
    result_sentences,
    warnings,
)

PAGE = "study_frontier.md"
FIGURES = {"frontier.svg": "study_frontier.svg", "frontier_seconds.svg": "study_frontier_seconds.svg"}


def results(found: Mapping[str, Any]) -> str:
    """The sentences of the study's page, its figure, and its tables."""
    said = [*warnings(found), *result_sentences(found), *filter(None, (outside(found), displaced(found)))]
    lines = [f"`{found['command']}`", "", *(f"- {sentence}" for sentence in said), ""]
    lines += ["![gold score against the KL divergence from the start](study_frontier.svg)", ""]
    for level in found["levels"]:
        lines += [f"**{level['level']:g} nats**", "", *at_level(found, level), ""]
    lines += ["**At the end of training**, means over the seeds that have not diverged; what has moved in nats per response"]
    lines += ["", *ends(found), ""]
    lines += ["**Costs** of a training, without measuring", "", *spent(found), ""]
    lines += ["Means over seeds; methods that learn from the reward model begin where its own training ends.", ""]
    lines += ["![gold score against CPU seconds of training](study_frontier_seconds.svg)"]
    return "\n".join(lines).strip()


def at_level(found: Mapping[str, Any], level: Mapping[str, Any]) -> list[str]:
    """A row per method: its gold score and its differences from the reference and from PPO, with 95 % intervals."""
    rival = found["labels"].get(found["rival"])
    rows = []
    for row in level["rows"]:
        missing = "not reached" if found["seeds"][row["name"]] else unfinished(found, row["name"])
        cells = [found["labels"][row["name"]], studies.interval(row["gold"]) or missing]
        cells += [studies.interval(row["difference"], signed=True)]
        cells += [studies.interval(row["rival"], signed=True)] if rival else []
        rows.append([*cells, ", ".join(row["settings"]), of_seeds(found, found["seeds"][row["name"]])])
    heads = f"| | gold | minus {found['labels'][found['reference']]} | " + (f"minus {rival} | " if rival else "")
    return studies.table(f"{heads}settings | seeds |", rows)


def ends(found: Mapping[str, Any]) -> list[str]:
    """A row per setting: its last point, and how far log-probabilities have moved, with 95 % intervals."""
    heads = "| | gold | KL | entropy | length | distinct-2 | chosen moved | rejected moved | seeds |"
    rows = []
    for row in found["ends"]:
        cells = [row["setting"], *(wording.number(row[key]) for key in ("gold", "kl", "entropy"))]
        cells += [wording.number(row["length"], 1), wording.number(row["distinct_2"])]
        cells += [studies.interval(row[f"{key}_moved"], 1, signed=True) for key in ("chosen", "rejected")]
        rows.append([*cells, end_seeds(found, row)])
    return studies.table(heads, rows)


def spent(found: Mapping[str, Any]) -> list[str]:
    """A row per method: seconds and tokens."""
    rows = []
    for row in costs(found):
        numbers = [row[key] for key in ("seconds", "wall", "sampled", "learned")]
        cells = ["" if one is None else f"{one:,.0f}" for one in numbers]
        rows.append([row["label"], *cells, str(row["runs"])])
    return studies.table("| | CPU s | wall s | tokens sampled | tokens learned from | trainings |", rows)


def put(run: Path, docs: Path = DOCS) -> None:
    """Write the results of the study in `run` into the page, and copy its figure."""
    studies.put(run, docs / PAGE, results, FIGURES)


if __name__ == "__main__":
    put(Path(sys.argv[1]))
