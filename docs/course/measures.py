"""What the experiments on language share: a job in a folder, what is measured of a model on its way, and numbers."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from burnish.algorithms.table import load
from burnish.config import build
from burnish.data import builtin, tokenise
from burnish.data.walk import in_order
from burnish.evaluation.english import perplexity
from burnish.evaluation.preferences import accuracy_scores
from burnish.evaluation.reward_models import score_pairs
from burnish.evaluation.statistics import bootstrap_interval
from burnish.policies.language.policy import LanguagePolicy, load_policy
from burnish.policies.language.scorer import LanguageScorer, load_scorer
from burnish.recipes.study.measure import Ruler
from burnish.recipes.study.watch import Watch, watched
from burnish.run import UserError, read_mapping

Point = dict[str, Any]
"""What is measured after some updates."""

SHARED: dict[str, Any] = {
    "seed": 0,
    "max_length": 128,
    "warmup": 0.1,
    "schedule": "constant",
    "save_every": 0,
    "threads": 1,
    "quiet": True,
}
SAMPLED = {"max_new_tokens": 48, "keep_samples": 0}
START, REWARD, PPO = "7/sft", "8/reward", "9"
"""What later experiments begin with, and the folder beside theirs that has it."""


@dataclass(frozen=True)
class Job:
    """An experiment in the folder `out`. A `quick` one shows that everything works, not how well."""

    out: Path
    quick: bool = False

    def few(self, count: int) -> int:
        """So many, or with `quick` nearly none."""
        return max(2, count // 32) if self.quick else count

    def earlier(self, what: str) -> Path:
        """What an earlier experiment left. Raises UserError where it has not been run."""
        folder = self.out.parent / what
        if not folder.exists():
            raise UserError(f"there is no {folder}: run the command of page {what.split('/')[0]} of the course first")
        return folder

    @property
    def start(self) -> Path:
        return self.earlier(START) / "model"

    def trained(self, method: str, name: str, ruler: Any, every: int, **options: Any) -> list[Point]:
        """Train into the folder `name`, and measure with `ruler.measured` each so many updates."""
        steps, options["batch_size"] = self.few(options["steps"]), self.few(options["batch_size"])
        online = {"rollout": self.few(options.pop("rollout"))} | SAMPLED if "rollout" in options else {}
        settings = SHARED | {"out": self.out / name} | options | {"steps": steps} | online
        if "model" not in settings:
            settings["model"] = self.start
        watch = Watch(ruler, min(every, steps), online.get("rollout", 0))
        return watched(watch, *build(load(method), {key: plain(one) for key, one in settings.items()}))["points"]

    def ruler(self, pairs: int, proxy: Path | None = None) -> Ruler:
        """What policies are measured with: completions of held-out prefixes, and so many held-out comparisons."""
        prompts = list(builtin.prefixes("held_out", self.few(192))["prompt"])
        held = comparisons("held_out", self.few(pairs))
        scorer = None if proxy is None else load_scorer(proxy, "cpu")
        return Ruler(load_policy(self.start), prompts, held, 0, SAMPLED["max_new_tokens"], 128, scorer, texts=True)

    def prompts(self) -> Path:
        """Beginnings of film reviews to complete."""
        rows = builtin.prefixes("train", self.few(2048))["prompt"]
        return self.rows("prompts", [{"prompt": prompt} for prompt in rows])

    def points_of(self, page: str) -> list[Point]:
        """The measurements of an earlier page's experiment."""
        return read_mapping(self.earlier(page) / "summary.json")["points"]

    def rows(self, name: str, rows: Iterable[Mapping[str, Any]]) -> Path:
        """A file of data with these rows."""
        self.out.mkdir(parents=True, exist_ok=True)
        file = self.out / f"{name}.jsonl"
        file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return file


@dataclass(frozen=True)
class Result:
    """What an experiment found: numbers by model, a figure, all measurements, and what models wrote."""

    variants: dict[str, dict[str, float]]
    chart: Any
    points: list[Point] = field(default_factory=list)
    texts: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Likelihoods:
    """How likely a policy finds texts of some kinds: nats per token, the lower the likelier."""

    texts: Mapping[str, Sequence[str]]

    def measured(self, policy: LanguagePolicy) -> Point:
        found = {kind: perplexity(policy, some) for kind, some in self.texts.items()}
        return {kind: one.nats / one.tokens for kind, one in found.items()}


@dataclass(frozen=True)
class Orders:
    """Whether a reward model orders comparisons as their labels do: 1, or 0, or ½ for a tie."""

    pairs: Sequence[Mapping[str, Any]]

    def measured(self, scorer: LanguageScorer) -> Point:
        rows = tokenise.preferences(Dataset.from_list([*self.pairs]), scorer.tokenizer, 128, "the comparisons")
        scores = score_pairs(scorer, in_order(rows, 64))
        return {"right": accuracy_scores(scores[:, 0] - scores[:, 1]).tolist()}


def comparisons(part: str, count: int) -> list[dict[str, Any]]:
    """People's comparisons of film reviews."""
    rows = builtin.comparisons(part).select(range(count))
    return [{key: row[key] for key in ("prompt", "chosen", "rejected")} for row in rows]


def plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def mean(values: Sequence[float], name: str) -> dict[str, float]:
    """A mean with the ends of its 95 % interval over prefixes, or pairs."""
    one = bootstrap_interval(values)
    return {name: one.mean, f"{name}_low": one.low, f"{name}_high": one.high}


def gain(point: Point, start: Point, key: str, deviations: bool = False) -> list[float]:
    """How much higher each prefix's completion scores than the start's; in standard deviations of its scores."""
    first = np.array(start[key])
    return ((np.array(point[key]) - first) / (first.std() if deviations else 1.0)).tolist()


def implicit(point: Point, start: Point) -> list[float]:
    """Whether the policy's implicit reward orders each held-out comparison as its label does."""
    return accuracy_scores(np.array(point["margins"]) - np.array(start["margins"])).tolist()


def described(point: Point, start: Point) -> dict[str, float]:
    """The numbers of a policy: gold score, gain over the start, distance from it, and the state of its texts."""
    found = mean(point["gold"], "gold") | mean(gain(point, start, "gold"), "gain") | mean(point["kl"], "kl")
    if "proxy" in point:
        found |= mean(point["proxy"], "proxy") | mean(gain(point, start, "proxy"), "claimed")
    found |= {key: point[key] for key in ("length", "entropy", "distinct_2", "repetition", "ended")}
    moved = {side: point[side] - start[side] for side in ("chosen", "rejected")}
    return found | mean(implicit(point, start), "accuracy") | moved


def without_texts(points: Sequence[Point]) -> list[Point]:
    """Measurements as they are kept."""
    return [{key: one for key, one in point.items() if key not in ("texts", "tokens", "cut")} for point in points]
