"""The study's cells: a pupil, or a method that goes on from one, each with a file of what was found."""

import shutil
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from burnish.algorithms.table import load
from burnish.config import build
from burnish.data import sources
from burnish.policies.interface import Models
from burnish.policies.language.policy import load_policy
from burnish.recipes.study.cell import SHARED, Found
from burnish.recipes.study.checked.graded import Exam, Graded, graded, held_out
from burnish.recipes.study.checked.plan import METHODS, SEARCH_SEED, TASKS, Plan, options_of
from burnish.recipes.study.checked.pupil import taught
from burnish.recipes.train.given import Given
from burnish.recipes.train.run import run_training
from burnish.run import save_folder_atomically

PUPILS = "pupils"


@dataclass(frozen=True)
class Cell:
    """A model of a task and a seed: the pupil, or, with a `method` and its learning rate, what became of it.

    `searching`: the cell is one of the search for learning rates, with other sizes.
    """

    task: str
    seed: int
    method: str | None = None
    rate: float | None = None
    searching: bool = False

    @property
    def name(self) -> str:
        if self.searching:
            return f"{self.task}/search/{self.method}-{self.rate:g}"
        return f"{self.task}/seed-{self.seed}/{self.method or 'pupil'}"

    @property
    def label(self) -> str:
        where = f"{self.task.replace('_', ' ')}, seed {self.seed}"
        if self.method is None:
            return f"{where}, pupil"
        return f"{where}, {METHODS[self.method].label}" + (f" at {self.rate:g}" if self.searching else "")


@dataclass(frozen=True)
class Checked:
    """What computes the cells of the study."""

    plan: Plan

    def compute(self, cell: Cell, out: Path, work: Path) -> Found:
        return (pupil if cell.method is None else learned)(cell, self.plan, out, work)

    def is_whole(self, cell: Cell, found: Found) -> bool:
        return isinstance(found.get("graded"), dict) and found.get("rate") == cell.rate

    def line(self, cell: Cell, found: Found) -> str:
        answers = Graded.of(found["graded"])
        return f"{answers.accuracy:.1%} right, {answers.length:.1f} tokens"


def exam_of(cell: Cell, plan: Plan, samples: int) -> Exam:
    """The held-out prompts of a task, the same for all seeds; the search has other ones."""
    task = TASKS[cell.task]
    seed = SEARCH_SEED if cell.seed == SEARCH_SEED else 0
    return Exam(*held_out(task.name, plan.prompts, seed), task.tokens, samples)


def pupil(cell: Cell, plan: Plan, out: Path, work: Path) -> Found:
    """Teach a model, and keep it."""
    began, task = time.process_time(), TASKS[cell.task]
    exam = exam_of(cell, plan, plan.lessons.samples)
    run, updates = taught(task.name, task.demonstrations, work, plan.shape, plan.lessons, exam, cell.seed)
    spent = time.process_time() - began
    with save_folder_atomically(model_of(cell, out)) as folder:
        shutil.copytree(run / "model", folder, dirs_exist_ok=True)
    found = graded(load_policy(run / "model", "cpu"), exam_of(cell, plan, plan.samples), cell.seed)
    return {"updates": updates, "seconds": spent, "graded": asdict(found)}


def model_of(cell: Cell, out: Path) -> Path:
    """The folder of the pupil's model."""
    return out / PUPILS / cell.task / f"seed-{cell.seed}"


def learned(cell: Cell, plan: Plan, out: Path, work: Path) -> Found:
    """Let a method go on from the pupil, and grade what became of it."""
    assert cell.method is not None
    method, task = METHODS[cell.method], TASKS[cell.task]
    rollouts = plan.search_rollouts if cell.searching else plan.rollouts
    samples = plan.search_samples if cell.searching else plan.samples
    options = options_of(plan, task, method, rollouts, cell.seed)
    tokens = demonstrated(options["data"]) if method.draws == "demonstrations" else None
    watch = Watch(plan, exam_of(cell, plan, 1), cell.seed, tokens, not cell.searching)
    own = {"out": str(work / "run"), "model": str(model_of(cell, out)), "learning_rate": cell.rate, "save_every": 0}
    run_training(*build(load(method.algorithm), SHARED | options | own), Given(on_step=watch.step), watch.begin)
    found = graded(watch.policy, exam_of(cell, plan, samples), cell.seed)
    curve, seconds = watch.points, watch.seconds
    return {"curve": curve, "tokens": watch.tokens, "seconds": seconds, "graded": asdict(found)}


def demonstrated(data: str) -> float:
    """The mean number of tokens of a demonstration's response, its end included: a token is a character."""
    responses = sources.load(data)["completion"]
    return sum(len(text) + 1 for text in responses) / len(responses)


@dataclass
class Watch:
    """What is seen of a training: sampled tokens, CPU seconds without those of looking, and answers on the way.

    `tokens_each` are those of a demonstration, None where completions are sampled. `silent` is the mean share of groups
    whose scores are all equal since the last point.
    """

    plan: Plan
    exam: Exam
    seed: int
    tokens_each: float | None
    looking: bool
    points: list[Found] = field(default_factory=list)
    tokens: float = 0.0
    seconds: float = 0.0
    equal: list[float] = field(default_factory=list)
    policy: Any = None
    began: float = 0.0

    def begin(self, models: Models) -> None:
        """Called with the models before they learn."""
        self.policy, self.began = models.main, time.process_time()

    def step(self, step: int, metrics: Found) -> None:
        """Called after each update; the first of a rollout has the rollout's numbers."""
        self.seconds += time.process_time() - self.began
        if self.tokens_each is not None:
            self.tokens += self.tokens_each * self.plan.batch_size
        elif "objective/length" in metrics:
            self.tokens += metrics["objective/length"] * self.plan.completions
        if "objective/frac_reward_zero_std" in metrics:
            self.equal.append(metrics["objective/frac_reward_zero_std"])
        rollouts, rest = divmod(step, self.plan.updates)
        if self.looking and not rest and rollouts % self.plan.eval_every == 0:
            self.look(rollouts)
        self.began = time.process_time()

    def look(self, rollouts: int) -> None:
        found = graded(self.policy, self.exam, self.seed)
        silent = sum(self.equal) / len(self.equal) if self.equal else None
        point = {"rollouts": rollouts, "tokens": self.tokens, "seconds": self.seconds, "silent": silent}
        self.points.append(point | {"accuracy": found.accuracy, "length": found.length, "entropy": found.entropy})
        self.equal = []
