"""Whole episodes of trained policies, many runs and copies at once, without learning."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from burnish.experience.control.trained import TrainedPolicies
from burnish.experience.control.vector import Environments
from burnish.run import UserError

REPLAY_STREAM = 7
ENDLESS = 100_000


@dataclass(frozen=True)
class Replayed:
    """Undiscounted returns and lengths of the first episode of each copy, per run."""

    returns: Float[np.ndarray, "R E"]
    lengths: Int[np.ndarray, "R E"]


def replay(
    policies: TrainedPolicies,
    environments: Environments,
    seeds: Sequence[int],
    deterministic: bool = True,
    limited: bool = True,
) -> Replayed:
    """One episode in each copy of each run's environment. Raises UserError where an environment fails, and for an
    episode of `ENDLESS` steps where nothing is known to limit it.

    Sampled actions come from a stream per run, seeded with its seed.
    """
    saved = policies.saved
    streams = None if deterministic else [np.random.Generator(np.random.PCG64([seed, REPLAY_STREAM])) for seed in seeds]
    rows = environments.reset()
    returns, lengths = np.zeros(rows.shape[:2]), np.zeros(rows.shape[:2], np.int64)
    playing = np.ones(rows.shape[:2], dtype=bool)
    while playing.any():
        if not limited and lengths.max() >= ENDLESS:
            raise endless(saved.environment["id"])
        stepping = np.asarray(playing.any(1))
        moved = environments.step(policies.choose(rows, streams), stepping)
        for at, reason in moved.failed.items():
            played = f"{saved.algorithm}, run {policies.numbers[at]}"
            raise UserError(f"{saved.environment['id']} failed with the policy of {played}: {reason}")
        counted = moved.real & playing
        returns += np.where(counted, moved.rewards, 0.0)
        lengths += counted
        playing &= ~((moved.terminated | moved.truncated) & counted)
        rows = moved.following
    return Replayed(returns, lengths)


def endless(name: str) -> UserError:
    return UserError(
        f"an episode of {name} has had {ENDLESS:,} steps and does not end: limit it with the option "
        "max_episode_steps=1000 of the environment (--env-option)"
    )
