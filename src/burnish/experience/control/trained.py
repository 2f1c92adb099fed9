"""Policies of control that are trained: they choose actions and do not change."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector.utils import concatenate, create_empty_array
from jaxtyping import Num
from torch import Tensor

from burnish.experience.control.normalise import ObservationNormaliser, RewardNormaliser
from burnish.experience.control.player import OBSERVATIONS
from burnish.experience.control.saved import (
    POLICY,
    TRAINING,
    WEIGHTS,
    Saved,
    read_policies,
    read_tensors,
    save_policies,
)
from burnish.experience.control.spaces import action_writer, observation_reader, unusable
from burnish.policies.control.network import noise_shape
from burnish.policies.control.policy import ControlPolicy
from burnish.run import UserError


class TrainedPolicies:
    """The policies of R runs, computed together; each sees observations through its own run's statistics."""

    def __init__(self, saved: Saved, weights: Mapping[int, Mapping[str, Tensor]]) -> None:
        """Raises UserError where weights, networks and spaces do not fit each other."""
        self.saved, self.weights, self.numbers = saved, weights, list(weights)
        name = saved.environment["id"]
        self.read = observation_reader(saved.observation_space, name)
        self.write = action_writer(saved.action_space, name, saved.network.head == "squashed")
        network = saved.network
        read, write = self.read, self.write
        declared = (read.size, write.size, write.continuous, write.choices, read.image)
        if declared != (network.observations, network.actions, network.continuous, network.choices, network.image):
            raise UserError(f"{POLICY} is damaged (networks and spaces have different sizes): restore it")
        self.policy: ControlPolicy = network.policy([0] * len(self.numbers))
        self.policy.load_named(self._stacked("policy/"))
        self.seen: ObservationNormaliser | None = None
        if saved.clip is not None:
            self.seen = ObservationNormaliser(len(self.numbers), self.read.size, saved.clip)
            load_statistics(self.seen, self._stacked(OBSERVATIONS))

    def choose(
        self, rows: Num[np.ndarray, "R E O"], streams: Sequence[np.random.Generator] | None = None
    ) -> np.ndarray:
        """The policies' actions `[R, E, …]` for observations as rows: the likeliest, or drawn with a stream per run."""
        seen = rows if self.seen is None else self.seen(rows)
        shown = torch.from_numpy(seen).to(None if seen.dtype == np.uint8 else self.policy.theta.dtype)
        if streams is None:
            return self.policy.likeliest(shown).numpy()
        shape = (rows.shape[1], *noise_shape(self.saved.network))
        draws = [s.standard_normal if self.write.continuous else s.random for s in streams]
        noise = np.stack([draw(shape, np.float32) for draw in draws])
        return self.policy.act(shown, torch.from_numpy(noise))[0].numpy()

    def _stacked(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names begin with this, [R, …]."""
        names = [name for name in self.weights[self.numbers[0]] if name.startswith(prefix)]
        try:
            return {
                name.removeprefix(prefix): torch.stack([own[name] for own in self.weights.values()]) for name in names
            }
        except (KeyError, RuntimeError) as error:
            raise UserError(f"{WEIGHTS} is damaged (its runs have different weights): restore it") from error


class TrainedPolicy:
    """A trained policy of one run.

    `algorithm`, `number` (of the run), `environment` (`id`, `options`, `wrappers`), `observation_space`, `action_space`
    and `facts` (the run's `seed`, `episodes`, `steps` and `return`, the mean of its last 100 training episodes) say
    where it comes from.
    """

    def __init__(self, policies: TrainedPolicies, seed: int = 0) -> None:
        (self.number,) = policies.numbers
        self.policies, saved = policies, policies.saved
        self.algorithm, self.environment = saved.algorithm, saved.environment
        self.observation_space, self.action_space = saved.observation_space, saved.action_space
        self.facts = saved.runs[self.number]
        self.stream = np.random.default_rng(seed)

    def __repr__(self) -> str:
        return f"TrainedPolicy({self.algorithm}, run {self.number}, {self.environment['id']})"

    def act(self, observation: Any, deterministic: bool = True) -> Any:
        """The action for an observation, or an array of actions for a batch of observations.

        Args:
            observation: One observation of the environment, or several with a leading dimension, as Gymnasium's vector
                environments give them.
            deterministic: Choose the likeliest action, the mean of a Gaussian; or else draw one from the policy, as in
                training.

        Returns:
            What the environment's `step` takes, `[*space]` or `[n, *space]`; a Box's bounds are kept.

        Raises:
            UserError: Where the observation is not of the environment's observation space, or has a number that is not
                finite or overflows float32.
        """
        one, rows = self.read(observation)
        if (found := unusable(rows)) is not None:
            raise UserError(
                f"the policy's observation space is {self.observation_space}, and it was given {shown(observation)}, "
                f"an observation {found[1]}"
            )
        actions = self.policies.choose(rows[None], None if deterministic else [self.stream])[0]
        written = self.policies.write(actions)
        return written[0] if one else written

    def read(self, observation: Any) -> tuple[bool, Num[np.ndarray, "n O"]]:
        """Whether it is one observation, and the rows that the networks see of it, or of several. Raises UserError
        where it is not of the observation space."""
        one = is_single(self.observation_space, observation)
        try:
            with np.errstate(over="ignore"):  # what is too large for the space's numbers is infinite then
                return one, self.policies.read(self._batched(observation) if one else observation)
        except (ValueError, TypeError, KeyError) as error:
            raise misfit(observation, self.observation_space) from error

    def save(self, folder: str | Path) -> Path:
        """Write this run's policy alone into a folder, from which `burnish.load` loads it."""
        path, saved = Path(folder), self.policies.saved
        path.mkdir(parents=True, exist_ok=True)
        runs = {self.number: saved.runs[self.number]}
        save_policies(path, Saved(**(vars(saved) | {"runs": runs})), self.policies.weights)
        return path

    def _batched(self, observation: Any) -> Any:
        out: Any = create_empty_array(self.observation_space, 1)
        try:
            return concatenate(self.observation_space, [observation], out)
        except (ValueError, TypeError, KeyError) as error:
            raise misfit(observation, self.observation_space) from error


def is_single(space: gymnasium.Space, observation: Any) -> bool:
    """Whether this is one observation of the space, and not a batch. Raises UserError where it is neither."""
    leaf, part = space, observation
    try:
        while leaf.shape is None:  # Dict and Tuple have no shape, and their first parts tell
            key = next(iter(leaf.spaces)) if isinstance(leaf, gymnasium.spaces.Dict) else 0
            leaf, part = leaf.spaces[key], part[key]  # type: ignore[attr-defined]
        shape = np.shape(part)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise misfit(observation, space) from error
    if shape not in (leaf.shape, (*shape[:1], *leaf.shape)):
        raise misfit(observation, space)
    return shape == leaf.shape


def misfit(observation: Any, space: gymnasium.Space) -> UserError:
    return UserError(
        f"{kind_of(observation)} is not of the policy's observation space {space}: give one, or several stacked"
    )


def kind_of(observation: Any) -> str:
    return f"an observation of shape {observation.shape}" if isinstance(observation, np.ndarray) else shown(observation)


def shown(observation: Any) -> str:
    return " ".join(repr(observation).split())[:60]


def load_statistics(normaliser: ObservationNormaliser | RewardNormaliser, stacked: Mapping[str, Tensor]) -> None:
    """Give every run its saved statistics. Raises UserError where they do not match."""
    try:
        for run in range(len(normaliser.moments.count)):
            normaliser.moments.load_named(run, {name: values[run].numpy() for name, values in stacked.items()})
    except ValueError as error:
        raise UserError(f"{WEIGHTS} or {TRAINING} is damaged ({error}): restore it") from error


def load_policies(folder: Path, numbers: Sequence[int] | None = None) -> TrainedPolicies:
    """The policies in a folder with `policy.json`, of all runs or of these."""
    saved = read_policies(folder)
    chosen = sorted(saved.runs) if numbers is None else list(numbers)
    if not chosen or not saved.runs.keys() >= set(chosen):
        raise UserError(
            f"{folder / POLICY} has no run {chosen[0] if chosen else 'at all'}: it has {sorted(saved.runs)}"
        )
    return TrainedPolicies(saved, read_tensors(folder, WEIGHTS, chosen))
