"""The page of `burnish classic`: learning curves, returns with intervals, and tests of the expected order.

It reads the files of the run's folder: `returns.parquet` (one row per episode), `summary.json` (made by
`burnish.evaluation.returns.summarise`) and, if they exist, `config.yaml` and `environment.json`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from burnish.report import theme, wording
from burnish.report.control.classic_figures import (
    By,
    LightFigure,
    curves_of,
    learning_curves,
    multiples,
    panel,
    save_curves,
    window,
)
from burnish.report.figures import Colours, to_spec
from burnish.report.page import Figure, write_page
from burnish.run import UserError, read_mapping

STEMS: dict[By, str] = {"episode": "returns", "steps": "returns_by_steps"}
NOT_SETTINGS = ("out", "processes", "resume", "quiet", "debug", "overwrite")
"""Options that say where and how the experiment is run, and do not change its results."""
VERDICTS = {
    "holds": ("holds", "hold"),
    "does not hold": ("does not hold", "do not hold"),
    "cannot be told": ("is undecided", "are undecided"),
}
"""Each verdict of a summary as a reader sees it, for one claim and for several."""


def classic_page(folder: Path) -> Path:
    """Write `report.html` and the figures `returns` and `returns_by_steps` (PNG, SVG) to `folder`; the page's path.

    Raises UserError if the table of returns or the summary is missing or incomplete.
    """
    found = read_summary(folder / "summary.json")
    config, environment = (_mapping(folder / name) for name in ("config.yaml", "environment.json"))
    frame = _finished(_returns(folder / "returns.parquet"), found)
    models = found["algorithms"]
    colours = theme.series_colours([one["label"] for one in models.values()])
    figures: dict[By, list[Figure]] = {}
    for by, stem in STEMS.items():
        chart = learning_curves(frame, by, found["threshold"], colours, note=left_out(found))
        save_curves(chart, folder / stem)
        figures[by] = _figures(frame, by, found, colours)
    place = config.get("env") or "the environment"
    return write_page(
        "classic.html.j2",
        folder / "report.html",
        [*figures["episode"], *figures["steps"]],
        title=title(found, place),
        result=result(found),
        place=place,
        found=found,
        models=models,
        length=length(found),
        left_out=left_out(found),
        updates={name: updates(one) for name, one in models.items()},
        runs=sorted({one["runs"] for one in models.values()}),
        swatches=colours,
        panels={by: several[0] for by, several in figures.items()},
        grids={by: several[1:] for by, several in figures.items()},
        heads=list(colours),
        timed=any(one["seconds"] is not None for one in models.values()),
        tally=tally(found["story"]),
        verdicts={verdict: words[0].removeprefix("is ") for verdict, words in VERDICTS.items()},
        settings=settings(config, models),
        command=found.get("command") or command(config, models, found),
        facts={"Experiment": experiment(config), "Versions": versions(environment)},
    )


def read_summary(path: Path) -> dict[str, Any]:
    """Read the summary. Raises UserError if a key that the page needs is missing."""
    if not path.is_file():
        raise UserError(f"{path.parent} has no {path.name}: give the folder that burnish classic wrote.")
    found = read_mapping(path)
    for key in ("algorithms", "episodes", "last", "digits", "probability_of_improvement", "leader", "story"):
        if key not in found or (key == "algorithms" and not found[key]):
            raise UserError(f"{path} has no `{key}`: recreate it with burnish.evaluation.returns.summarise.")
    return {"threshold": None, "unfinished": {}, "failed": {}, "warnings": [], "steps": None} | found


def title(found: Mapping[str, Any], place: str) -> str:
    """The page's title: the algorithm that is ahead, if there is one."""
    models, first = found["algorithms"], found["leader"]
    if first is None:
        (one,) = models.values()
        mean = wording.number(one["mean"]["mean"], found["digits"])
        return f"{one['label']} on {place}: a mean return of {mean} over {length(found)}"
    label = models[first["algorithm"]]["label"]
    if first["difference"] is None:
        return (
            f"{wording.listed([one['label'] for one in models.values()])} on {place}: too few runs to tell them apart"
        )
    level = [models[name]["label"] for name in first["undecided"]]
    if not level:
        return f"{label} has the highest mean return on {place}"
    if len(level) == len(models) - 1:
        return f"On {place}, {wording.listed([label, *level])} cannot be told apart by their mean return"
    return f"{wording.listed([label, *level])} have the highest mean returns on {place} and cannot be told apart"


def length(found: Mapping[str, Any]) -> str:
    """How long each run was, in words."""
    return f"{found['steps']:,} environment steps" if found["steps"] else f"{found['episodes']:,} episodes"


def left_out(found: Mapping[str, Any]) -> str:
    """The runs that failed, in words; empty if none did."""
    failed = [f"{count} run{'s' if count > 1 else ''} of {name}" for name, count in found["failed"].items()]
    return f"without {wording.listed(failed)}, which failed" if failed else ""


def updates(one: Mapping[str, Any]) -> str:
    """The smallest and the largest number of updates of an algorithm's runs."""
    counts = one.get("updates_per_run")
    if not counts:
        return "–"
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def result(found: Mapping[str, Any]) -> str:
    """The mean return of the leader and of its closest rival in one sentence, or that of the only algorithm."""
    models, first, digits = found["algorithms"], found["leader"], found["digits"]
    name = next(iter(models)) if first is None else first["algorithm"]
    one = models[name]
    ends = wording.range_of(one["mean"], digits)
    mean = wording.number(one["mean"]["mean"], digits) + (f" (95 % interval {ends})" if ends else "")
    over = f"over {'' if found['steps'] else 'all '}{length(found)}" + (
        f" and {one['runs']} runs" if one["runs"] > 1 else " of one run"
    )
    sentence = f"{one['label']}’s mean return {over} is {mean}"
    if first is None:
        return f"{sentence}."
    rival = models[first["rival"]]
    other = wording.number(rival["mean"]["mean"], digits)
    if first["difference"] is None:
        return f"{sentence}, {rival['label']}’s {other}."
    return (
        f"{sentence}, {rival['label']}’s {other}: a difference of "
        f"{wording.number(first['difference']['mean'], digits)} ({wording.range_of(first['difference'], digits)})."
    )


def tally(story: list[Mapping[str, Any]]) -> str:
    """The number of claims with each verdict, in words."""
    counts = {verdict: sum(test["verdict"] == verdict for test in story) for verdict in VERDICTS}
    parts = [f"{count} {VERDICTS[verdict][count > 1]}" for verdict, count in counts.items() if count]
    return f"Of {len(story)} claims, {wording.listed(parts)}."


def settings(config: Mapping[str, Any], models: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Hyperparameters as table rows with one column per algorithm, None where an algorithm lacks one."""
    given = config.get("algorithms")
    if not isinstance(given, Mapping):
        return []
    columns = [wording.flatten(given.get(name) or {}) for name in models]
    keys = dict.fromkeys(key for column in columns for key in column)
    return [{"key": key, "values": [column.get(key) for column in columns], "differs": False} for key in keys]


def experiment(config: Mapping[str, Any]) -> dict[str, str]:
    """The settings that all algorithms share, without `NOT_SETTINGS`."""
    return {
        key: wording.value(item)
        for key, item in wording.flatten(config).items()
        if key.split(".")[0] not in ("algorithms", *NOT_SETTINGS) and item not in ({}, None)
    }


def versions(environment: Mapping[str, Any]) -> dict[str, str]:
    """Versions by package name, and the other facts in `environment.json`."""
    flat = wording.flatten(environment).items()
    return {key.removeprefix("packages.").removeprefix("versions."): wording.value(item) for key, item in flat}


def command(config: Mapping[str, Any], models: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """The command that repeats the experiment, if all hyperparameters are the defaults."""
    runs = config.get("runs") or max(one["runs"] for one in models.values())
    env = f" --env {config['env']}" if config.get("env") else ""
    amount = f"--steps {found['steps']}" if found["steps"] else f"--episodes {found['episodes']}"
    return f"burnish classic{env} --algorithms {','.join(models)} --runs {runs} {amount} --out DIR"


def _figures(frame: pd.DataFrame, by: By, found: Mapping[str, Any], colours: Colours) -> list[Figure]:
    """The main panel with its caption, then the small multiples."""
    curves = curves_of(frame, by)
    smooth = window(found["episodes"])
    caption = f"Each point is the mean over the last {smooth} episodes of a run. " if smooth > 1 else ""
    if by == "steps":
        caption += (
            "Each run is plotted against its own environment steps, interpolated between the ends of its episodes. A "
            "mean curve ends where the first of its runs ends, so that each point is a mean over all runs. "
        )
    if any(curve.low is not None for curve in curves):
        caption += "Bands are 95 % bootstrap intervals of the mean over runs. "
    if found["threshold"] is not None:
        caption += f"The dashed line is at {found['threshold']:g}. ".replace("-", wording.MINUS)
    if missing := left_out(found):
        caption += f"{missing[0].upper()}{missing[1:]}."
    main = LightFigure(STEMS[by], to_spec(panel(curves, colours, by, found["threshold"])), caption.strip())
    each = [LightFigure(f"{STEMS[by]}-{i}", to_spec(chart)) for i, chart in enumerate(multiples(curves, colours, by))]
    return [main, *each]


def _returns(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise UserError(f"{path.parent} has no {path.name}: give the folder that burnish classic wrote.")
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({' '.join(str(error).split())}): restore it.") from error
    return frame


def _finished(frame: pd.DataFrame, found: Mapping[str, Any]) -> pd.DataFrame:
    """The episodes that the summary counts, in the order of its algorithms and with their labels."""
    models = found["algorithms"]
    columns = {"algorithm", "run", "episode"}
    if missing := sorted(columns - set(frame.columns)):
        raise UserError(f"The table of returns has no column {wording.listed(missing)}: it needs one row per episode.")
    parts = []
    for name, one in models.items():
        rows = frame[frame.algorithm == name]
        if not found["steps"]:
            rows = rows[rows.episode <= found["episodes"]]
            rows = rows[rows.groupby("run").episode.transform("size") == found["episodes"]]
        if rows.empty:
            raise UserError(
                f"The table of returns has no finished run of {name}, unlike the summary: run burnish classic again."
            )
        parts.append(rows.assign(algorithm=one["label"]))
    return pd.concat(parts, ignore_index=True)


def _mapping(path: Path) -> dict[str, Any]:
    return read_mapping(path) if path.is_file() else {}
