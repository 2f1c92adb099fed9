"""What the study of checked answers compares: its tasks, its methods, and their sizes."""

import difflib
from dataclasses import dataclass, field, replace
from typing import Any

from burnish.recipes.study.checked.graded import with_options
from burnish.recipes.study.checked.pupil import Lessons, Shape
from burnish.run import UserError


@dataclass(frozen=True)
class Task:
    """A task with its options, the most tokens of an answer, its end among them, and the number of demonstrations that
    its pupil is taught with."""

    name: str
    tokens: int
    demonstrations: int


TASKS = {
    "chain_sum": Task("task:chain_sum:terms=3,digits=1", 4, 1000),
    "reverse": Task("task:reverse:letters=5,least=3", 12, 300),
    "sort": Task("task:sort:numbers=5,least=3", 12, 300),
    "letter_count": Task("task:letter_count:letters=8,least=4", 4, 300),
    "brackets": Task("task:brackets:brackets=6,least=2", 14, 300),
}
SEARCH_SEED = 1000
"""Of the pupils that learning rates are chosen with, and of their held-out prompts; no result is of this seed."""


@dataclass(frozen=True)
class Method:
    """An algorithm with what differs from its defaults. None has a KL penalty: a right answer is right.

    `draws` says how it gets its completions: several of each prompt ("groups"), the best of several ("best"), one of
    each prompt ("singles"), or none ("demonstrations"). `rates` are the learning rates that are tried.
    """

    label: str
    algorithm: str
    draws: str
    options: dict[str, Any] = field(default_factory=dict)
    rates: tuple[float, ...] = (3e-5, 1e-4, 3e-4)


METHODS = {
    "rloo": Method("RLOO", "rloo", "groups", {"beta": 0.0}),
    "grpo": Method("GRPO", "grpo", "groups", {"beta": 0.0}),
    "dr_grpo": Method("Dr. GRPO", "grpo", "groups", {"preset": "dr_grpo"}),
    "gspo": Method("GSPO", "gspo", "groups", {"beta": 0.0}),
    "cispo": Method("CISPO", "cispo", "groups", {"beta": 0.0}),
    "reinforce_plus_plus": Method("REINFORCE++", "reinforce_plus_plus", "singles", {"beta": 0.0}),
    "ppo": Method("PPO", "ppo", "singles", {"beta": 0.0, "update_epochs": 1}),
    "rejection": Method("Rejection sampling", "rejection", "best"),
    "sft": Method("More SFT", "sft", "demonstrations", rates=(3e-4, 1e-3, 3e-3)),
}


@dataclass(frozen=True)
class Plan:
    """Sizes of the study.

    A method draws `rollouts` rollouts of `completions` completions, `group` of them per prompt where it has groups, and
    learns from each in updates of `batch_size` completions. After every `eval_every` rollouts it answers `prompts`
    held-out prompts once, at the end `samples` times. With a `rate` all methods learn at it, and none is searched for.
    """

    tasks: tuple[str, ...] = tuple(TASKS)
    seeds: int = 5
    methods: tuple[str, ...] = tuple(METHODS)
    rollouts: int = 80
    completions: int = 128
    group: int = 8
    batch_size: int = 64
    eval_every: int = 10
    prompts: int = 200
    samples: int = 64
    rate: float | None = None
    search_rollouts: int = 40
    search_samples: int = 8
    shape: Shape = field(default_factory=Shape)
    lessons: Lessons = field(default_factory=Lessons)

    @property
    def updates(self) -> int:
        """Updates per rollout: each completion is learned from once."""
        return self.completions // self.batch_size


FULL = Plan()
QUICK = Plan(
    tasks=("reverse",),
    seeds=2,
    rollouts=8,
    eval_every=4,
    prompts=64,
    samples=16,
    rate=3e-4,
)
"""Shows that everything works, not how well."""


def plan_for(quick: bool, tasks: str | None, seeds: int | None) -> Plan:
    """The plan with these tasks, comma-separated, and so many seeds. Raises UserError for a task that it does not
    have."""
    plan = QUICK if quick else FULL
    if tasks is not None:
        plan = replace(plan, tasks=tasks_of(tasks))
    return plan if seeds is None else replace(plan, seeds=seeds)


def tasks_of(text: str) -> tuple[str, ...]:
    """The names in a comma-separated text, in the order of `TASKS`."""
    names = [name.strip().replace("-", "_") for name in text.split(",") if name.strip()]
    for name in names:
        if name not in TASKS:
            near = difflib.get_close_matches(name, TASKS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(TASKS)}"
            raise UserError(f"--tasks: the study has no task {name!r}; {hint}")
    if not names:
        raise UserError(f"--tasks names no task: give some of {', '.join(TASKS)}")
    return tuple(name for name in TASKS if name in names)


def options_of(plan: Plan, task: Task, method: Method, rollouts: int, seed: int) -> dict[str, Any]:
    """The options of a method's training but its model, its learning rate and its run folder."""
    prompts, rows = plan.completions // plan.group, plan.batch_size
    options: dict[str, Any] = {
        "seed": seed,
        "steps": rollouts * plan.updates,
        "max_length": plan.shape.context,
    }
    if method.draws == "demonstrations":
        known = with_options(task.name, rows=task.demonstrations, seed=seed)
        return options | {"data": known, "batch_size": rows} | method.options
    drawn = plan.completions if method.draws == "singles" else prompts
    if method.draws != "singles":
        options["completions_per_prompt"] = plan.group
    if method.draws == "best":
        rows //= plan.group
    sampling = {"rollout": drawn, "max_new_tokens": task.tokens, "keep_samples": 0}
    data = with_options(task.name, rows=rollouts * drawn, seed=seed)
    return options | sampling | {"data": data, "batch_size": rows} | method.options
