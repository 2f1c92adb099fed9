"""From returns to comparisons: PPO on rewards that an ensemble learned from a judge's labels, and on the true rewards.

The study trains PPO, unchanged, with 100, 350, 700 and 1,400 labels that are requested during training, with 700 labels
about the first policy, with 700 about random pairs, and with the environment's rewards.
"""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from burnish.config import construct, option_names, suggestion
from burnish.evaluation.statistics import interval_of_mean, paired_difference
from burnish.experience.control.fixed_cartpole import FIXED_CARTPOLE
from burnish.experience.control.teacher import Comparisons
from burnish.options import quoted
from burnish.recipes.control.classic import FREE, GROUPS, collected
from burnish.recipes.control.comparisons_group import Variant, VariantGroup, run_variant
from burnish.recipes.control.compute import compute, finished, outcome
from burnish.recipes.control.settings import ClassicSettings, checked, method
from burnish.recipes.processes import cores
from burnish.report.control.comparisons import comparisons_page
from burnish.run import RunFolder, UserError, hushed, write_atomically
from burnish.run.versions import versions

TRUE = "true_reward"
LAST = 0.2  # the share of a run's episodes that its final return is over
COMMON = {"copies": 8, "rollout": 200, "learning_rate": 1e-3, "update_epochs": 10, "value_clip": None}
PRESETS: dict[str, dict[str, Any]] = {
    "Pendulum-v1": {"gamma": 0.9, "lambda_": 0.95, "batch_size": 128, "value_weight": 0.5},
    FIXED_CARTPOLE: {"gamma": 0.98, "lambda_": 0.8, "batch_size": 128, "value_weight": 0.5},
}
DEFAULTS: dict[str, Any] = {"env": "Pendulum-v1", "runs": 5, "episodes": 400, "out": "runs/comparisons"}


def comparisons_settings(options: Mapping[str, Any]) -> ClassicSettings:
    """The settings that flat `options` ask for, with this study's defaults. Raises UserError for invalid options."""
    given = {key.replace("-", "_"): value for key, value in options.items()}
    known = option_names(ClassicSettings)
    for key in given:
        if key == "steps" and given[key] is not None:
            raise UserError("learning from comparisons counts episodes of one length: give episodes in place of steps")
        if key == "algorithms":
            raise UserError("learning from comparisons uses ppo only: leave algorithms out")
        if key not in known:
            raise UserError(f"unknown key '{key}' for learning from comparisons{suggestion(key, known)}")
    settings = checked(construct(ClassicSettings, DEFAULTS | given))
    if settings.env not in PRESETS:
        raise UserError(
            "learning from comparisons needs episodes of a fixed length, because their ends would reveal the rewards: "
            f"choose {' or '.join(PRESETS)}, not {settings.env}"
        )
    return settings


def variants(counts: Sequence[int] = (100, 350, 700, 1400), contrast: int | None = 700, **knobs: Any) -> list[Variant]:
    """The study's variants in the order of its page; `knobs` are options of `Comparisons` for all of them.

    `contrast` is the number of labels of the two variants that ask differently; None leaves them out.
    """
    asked = [Variant(f"labels_{n}", f"{n:,} labels", Comparisons(labels=n, **knobs)) for n in counts]
    if contrast is None:
        return [Variant(TRUE, "True reward", None), *asked]
    begin = Comparisons(labels=contrast, when="start", choose="random", **knobs)
    anything = Comparisons(labels=contrast, choose="random", **knobs)
    return [
        Variant(TRUE, "True reward", None),
        *asked,
        Variant(f"start_{contrast}", f"{contrast:,} at the start", begin),
        Variant(f"random_{contrast}", f"{contrast:,} of random pairs", anything),
    ]


def study_of(labels: str | None) -> list[Variant]:
    """The variants for `--labels 100,700`: these and the true reward; the whole study without it."""
    if labels is None:
        return variants()
    counts = [part.strip() for part in str(labels).split(",")]
    if not all(part.isdigit() and int(part) > 0 for part in counts) or len(set(counts)) < len(counts):
        raise UserError(f"labels must be different comma-separated numbers above 0, like 100,700, not {quoted(labels)}")
    return variants([int(part) for part in counts], None)


def run_comparisons(
    settings: ClassicSettings, command: str | None = None, study: Sequence[Variant] | None = None
) -> Path:
    """Train every variant; the folder with `returns.parquet`, `summary.json`, the figures and `report.html`.

    `command` is how the page says to repeat it. Raises UserError if an environment failed; the results of the
    other runs are written all the same.
    """
    study = variants() if study is None else study
    groups = groups_of(settings, study)
    with hushed(settings.quiet), RunFolder.open(settings.out, resume=settings.resume) as run:
        knobs = {"ppo": groups[0].method.as_dict(), "variants": {v.name: v.as_dict() for v in study}}
        del knobs["ppo"]["normalise_rewards"]  # of the true reward alone
        run.claim({key: value for key, value in asdict(settings).items() if key != "steps"} | knobs, free=FREE)
        packages = versions("burnish", "torch", "gymnasium", "numpy")
        run.describe({"python": platform.python_version(), "packages": packages, "seed": settings.seed})
        processes = settings.processes or cores()
        failed = compute(groups, run, processes, settings.quiet, run_variant)
        frame = collected(groups, run.path, "variant", [variant.name for variant in study])
        if not frame.empty:
            found = summarise(frame, study, settings, outcomes(groups, run.path / GROUPS)) | {"command": command}
            write_atomically(run.path / "summary.json", json.dumps(found, indent=2, allow_nan=False) + "\n")
            comparisons_page(run.path)
    if failed:
        raise UserError(f"{'; '.join(failed)}; the other runs' results are in {run.path}")
    return run.path


def groups_of(settings: ClassicSettings, study: Sequence[Variant]) -> list[VariantGroup]:
    """The groups, those with most labels first, which take longest."""
    plain = method("ppo", COMMON | PRESETS[settings.env])
    hidden = tuple(int(size) for size in settings.hidden.split(","))
    groups = []
    for variant in sorted(study, key=lambda v: -v.labels):
        # Predicted rewards are on one scale; true ones are brought to one by what the run has seen of them.
        control = replace(plain.control, normalise_rewards=variant.comparisons is None)
        own = replace(plain, name=variant.label, control=control)
        for first in range(0, settings.runs, settings.group):
            last = min(first + settings.group, settings.runs) - 1
            groups.append(
                VariantGroup(
                    *(own, settings.env, {}, hidden, settings.episodes, settings.seed, first, last, variant),
                    track=settings.track,
                    quiet=settings.quiet,
                )
            )
    return groups


def outcomes(groups: Sequence[VariantGroup], folder: Path) -> list[tuple[VariantGroup, dict[str, Any]]]:
    """The finished groups' measurements."""
    return [(g, outcome(folder / g.name)) for g in groups if finished(folder / g.name)]


def summarise(
    frame: pd.DataFrame,
    study: Sequence[Variant],
    settings: ClassicSettings,
    left: Sequence[tuple[VariantGroup, dict[str, Any]]],
) -> dict[str, Any]:
    """All numbers of the page. An interval over one run has no ends; episodes beyond a run's limit are ignored.

    `final` is the mean true return over the last fifth of a run's episodes; `difference` is that minus the one
    with the true reward, paired by seed.
    """
    episodes = settings.episodes or 0
    last = max(1, round(LAST * episodes))
    frame = frame[frame.episode <= episodes]
    frame = frame[frame.groupby(["variant", "run"]).episode.transform("size") == episodes]
    late = frame[frame.episode > episodes - last]
    finals, means = (part.groupby(["variant", "run"])["return"].mean() for part in (late, frame))
    found: dict[str, Any] = {}
    for variant in study:
        if variant.name not in finals.index.get_level_values(0):
            continue
        final, mean = finals[variant.name], means[variant.name]
        measured: dict[str, Any] = {}
        seconds = 0.0
        for group, one in left:
            if group.variant.name == variant.name:
                measured |= one["measured"]
                seconds += one["seconds"]
        own = {"label": variant.label, "labels": variant.labels, "runs": len(final), "seconds": round(seconds, 1)}
        if variant.comparisons:
            own |= {"when": variant.comparisons.when, "choose": variant.comparisons.choose}
        own |= {"final": interval(final), "final_per_run": final.tolist(), "mean": interval(mean)}
        for kind in ("late", "ever") if variant.comparisons else ():
            per_run = [measured[str(run)][kind] for run in final.index]
            own[f"correlation_{kind}"] = interval([x for x in per_run if x is not None])
            own[f"correlation_{kind}_per_run"] = per_run
        found[variant.name] = own
    for name, own in found.items():
        both = finals[name].index.intersection(finals[TRUE].index) if name != TRUE and TRUE in found else []
        own["difference"] = None
        if len(both) > 1:
            own["difference"] = paired_difference(finals[name][both], finals[TRUE][both]).as_dict()
    return {"env": settings.env, "episodes": episodes, "last": last, "variants": found}


def interval(values: Any) -> dict[str, float | None] | None:
    """The mean over runs with its 95 % bootstrap interval; without ends for one run, None for no run."""
    values = np.asarray(values, dtype=float)
    return interval_of_mean(values) if len(values) else None
