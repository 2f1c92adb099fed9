"""What the study compares: learners and environments, lags and corrections, and its sizes."""

from dataclasses import dataclass, field, replace
from typing import Any

from burnish.experience.control.behind import Correction

CARTPOLE, PENDULUM, LANGUAGE = "CartPole-v1", "Pendulum-v1", "language"
LEARNERS: dict[str, tuple[str, ...]] = {CARTPOLE: ("ppo", "dqn"), PENDULUM: ("ppo", "sac")}
"""By environment, the algorithms whose sample efficiency is compared; the others with the first, which is on-policy."""
THRESHOLDS = {CARTPOLE: 475.0, PENDULUM: -200.0}
"""Mean returns that count as solved: CartPole's own; Pendulum has none."""
TASKS = {CARTPOLE: "CartPole", PENDULUM: "Pendulum", LANGUAGE: "Language"}
CORRECTIONS: dict[Correction, str] = {
    "none": "No correction",
    "action": "Weights per action",
    "product": "Their products",
    "truncated": "Truncated products",
}
HIGH = 2.0
"""What truncated weights are limited to: the default of `--correction-high`."""
NO_LIMIT = 1e9
OF_LANGUAGE: dict[Correction, dict[str, Any]] = {
    "none": {},
    "action": {"sampler_correction": "truncate", "correction_level": "token", "correction_high": NO_LIMIT},
    "product": {"sampler_correction": "truncate", "correction_level": "sequence", "correction_high": NO_LIMIT},
    "truncated": {"sampler_correction": "truncate", "correction_level": "sequence", "correction_high": HIGH},
}
"""The options of a correction in a training of a language model."""


@dataclass(frozen=True)
class Plan:
    """Sizes of the study.

    Each of the `learners` has `runs` runs of its environment's `steps`. PPO on CartPole with episodes of at most
    `longest` steps has as many runs of `late_steps` steps for each of `lags`, in turns, and each correction. A language
    model has `language_runs` trainings of `updates` turns of one update of `texts` completions, `group` of each prompt,
    for each of `language_lags`.

    Weights are measured in a training without lag: after each of the `anchors` turns `episodes` episodes are drawn, and
    weighed by the policies of `lags` turns later, for the first of `counts` actions. Language models are trained on the
    first `prefixes` prefixes and measured on the first `held_out` held-out ones.
    """

    learners: dict[str, tuple[str, ...]] = field(default_factory=lambda: LEARNERS)
    runs: int = 10
    language_runs: int = 5
    steps: dict[str, int] = field(default_factory=lambda: {CARTPOLE: 50_000, PENDULUM: 20_000})
    late_steps: int = 25_600
    longest: int = 200
    lags: tuple[int, ...] = (0, 1, 2, 4, 8)
    language_lags: tuple[int, ...] = (0, 2, 8)
    anchors: tuple[int, ...] = (16, 48, 80)
    language_anchors: tuple[int, ...] = (8, 16, 32)
    counts: tuple[int, ...] = (1, 2, 5, 10, 20, 50, 100, 200)
    episodes: int = 256
    model: str = "builtin"
    updates: int = 48
    texts: int = 32
    group: int = 4
    learning_rate: float = 1e-4
    prefixes: int = 512
    held_out: int = 192
    max_new_tokens: int = 50
    max_length: int = 128
    hidden: tuple[int, ...] = (64, 64)

    def lags_of(self, task: str) -> tuple[int, ...]:
        """The lags whose returns are compared."""
        return self.language_lags if task == LANGUAGE else self.lags

    def runs_of(self, task: str) -> int:
        return self.language_runs if task == LANGUAGE else self.runs

    def anchors_of(self, task: str) -> tuple[int, ...]:
        return self.language_anchors if task == LANGUAGE else self.anchors

    def counts_of(self, task: str) -> tuple[int, ...]:
        """The numbers of actions that an episode of this task can have."""
        most = self.max_new_tokens if task == LANGUAGE else self.longest
        return tuple(count for count in self.counts if count <= most)


FULL = Plan()
QUICK = replace(
    FULL,
    runs=2,
    language_runs=2,
    steps={CARTPOLE: 1_500, PENDULUM: 900},
    late_steps=3_072,
    lags=(0, 2),
    language_lags=(0, 2),
    anchors=(2, 4),
    language_anchors=(1,),
    episodes=32,
    updates=4,
    texts=16,
    prefixes=32,
    held_out=24,
    max_new_tokens=20,
)
"""Shows that everything works, not how well."""


def plan_for(quick: bool, runs: int | None) -> Plan:
    """The plan of these flags, with so many runs; of language models no more than it has without the flag."""
    plan = QUICK if quick else FULL
    return plan if runs is None else replace(plan, runs=runs, language_runs=min(runs, plan.language_runs))
