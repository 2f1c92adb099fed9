"""Gymnasium environments of several runs from an id: one vector environment per run, CartPole as one for all runs.

An id with a vector environment of its own (`vector_entry_point`), as some packages have, gets that one.
"""

import difflib
import importlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import gymnasium
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import NormalizeObservation, NormalizeReward, TimeLimit

from burnish.experience.control.cartpole import CartPoles
from burnish.experience.control.made import IN_MEMORY, Wrappers, spec_of, wrapped
from burnish.experience.control.spaces import unsuited
from burnish.experience.control.vector import Environments, Transition, VectorEnvironments
from burnish.options import quoted
from burnish.run import UserCodeError, UserError, find_here, placed, user_code

__all__ = ["Environments", "Transition", "cautions", "make_environments", "make_one", "spec_of_id", "time_limit"]

T = TypeVar("T")
NATIVE_CARTPOLE = "gymnasium.envs.classic_control.cartpole:CartPoleVectorEnv"
CARTPOLE_OPTIONS = {"max_episode_steps", "sutton_barto_reward"}
UNSAVED: dict[type, str] = {
    NormalizeObservation: "its observations go through NormalizeObservation, whose statistics are not saved, so that a "
    "trained policy plays on other numbers than it learned with: set normalise_observations instead, or scale them by "
    "fixed numbers",
    NormalizeReward: "its rewards go through NormalizeReward, so that returns are not the environment's own: set "
    "normalise_rewards instead",
}
"""What is said of Gymnasium's wrappers that keep statistics."""


def make_environments(
    name: str, seeds: Sequence[int], copies: int, wrappers: Wrappers = (), scaled: bool = False, /, **options: Any
) -> Environments:
    """The environments of one run per seed, with `copies` per run.

    `name` is an id, `module:id`, or `module:function` of what makes one. `options` are the environment's own, and
    `max_episode_steps`. `scaled` actions are scaled from [−1, 1] to their bounds. Observations are float64 where the
    environment's are, else float32. Run i sees the same in a group and alone.
    """
    spec = wrapped(spec_of_id(name), wrappers)
    limit = _limit(spec, options)
    known = {"max_episode_steps": limit} | spec.kwargs | options
    if _native(spec) and limit and not known.keys() - CARTPOLE_OPTIONS:
        return CartPoles(seeds, copies, **known)
    return VectorEnvironments((_vector(spec, name, copies, options) for _ in seeds), seeds, name, scaled)


def make_one(name: str, wrappers: Wrappers = (), /, **options: Any) -> gymnasium.Env:
    """A single environment, as `make_environments` makes many; `render_mode` is among the options."""
    spec = wrapped(spec_of_id(name), wrappers)
    if spec.entry_point is None:
        raise UserError(f"{name} is a vector environment alone, and none of its copies can be watched")
    return _built(lambda: gymnasium.make(spec, **options), name)


def time_limit(name: str, options: Mapping[str, Any]) -> int | None:
    """The most steps of an episode, as far as id and options say."""
    return options.get("max_episode_steps", spec_of_id(name).max_episode_steps)


def cautions(
    name: str, limited: bool = False, wrappers: Wrappers = (), scaled: bool = False, /, **options: Any
) -> list[str]:
    """What an environment declares that training may fail on: sentences that say what helps.

    `limited` says that runs end after a number of steps, whatever episodes do, and `scaled` that actions are scaled to
    their bounds. An environment is made, and neither reset nor stepped.
    """
    spec, found = wrapped(spec_of_id(name), wrappers), []
    env = None if _native(spec) else _vector(spec, name, 1, options)
    within = [] if env is None else _layers(env)
    if _limit(spec, options) is None and not limited and not any(isinstance(one, TimeLimit) for one in within):
        found.append(
            f"{name} has no limit on the steps of an episode, so that one which never ends by itself takes for ever: "
            "set max_episode_steps in env_options, or give the runs a number of steps with --steps"
        )
    if env is not None:
        if not scaled and (problem := unsuited(env.single_action_space)) is not None:
            found.append(f"{name}: {problem}")
        found += [f"{name}: {said}" for kind, said in UNSAVED.items() if any(isinstance(one, kind) for one in within)]
        with suppress(UserCodeError), user_code():
            env.close()
    return found


def _layers(env: VectorEnv) -> list[gymnasium.Env]:
    """The wrappers of a copy, from the outermost on, and what they are around; none of a vector that steps itself."""
    found = [env.envs[0]] if isinstance(env, SyncVectorEnv) else []
    while found and isinstance(found[-1], gymnasium.Wrapper):
        found.append(found[-1].env)
    return found


def _limit(spec: EnvSpec, options: Mapping[str, Any]) -> int | None:
    limit = options.get("max_episode_steps", spec.max_episode_steps)
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise UserError(f"max_episode_steps must be a whole number of at least 1, not {limit!r}")
    return limit


def _native(spec: EnvSpec) -> bool:
    """Whether this is Gymnasium's own CartPole, as it is registered."""
    return spec.vector_entry_point == NATIVE_CARTPOLE and not spec.additional_wrappers


def _vector(spec: EnvSpec, name: str, copies: int, options: dict[str, Any]) -> VectorEnv:
    """One run's vector environment: the id's own, or else one that steps copies one after the other."""

    def make() -> gymnasium.Env:
        return gymnasium.make(spec, **options)

    if spec.vector_entry_point is not None and not spec.additional_wrappers:
        return _built(lambda: gymnasium.make_vec(spec, num_envs=copies, **options), name)
    return _built(lambda: SyncVectorEnv([make] * copies, copy=False, autoreset_mode=AutoresetMode.DISABLED), name)


def _built(build: Callable[[], T], name: str) -> T:
    try:
        with user_code():
            return build()
    except UserCodeError as error:
        if isinstance(error.cause, gymnasium.error.DependencyNotInstalled | ImportError):
            raise UserError(f"{name} needs a package that is not installed: {error.cause}") from error.cause
        raise UserError(f"{name} could not be made: {placed(error)}") from error.cause


def spec_of_id(name: str) -> EnvSpec:
    """The registration of this id; `module:id` imports the module first, which registers it or has a function of that
    name, which makes one. As with `python -m`, modules in the current folder are found."""
    module, _, id_ = name.rpartition(":")
    if name.startswith(IN_MEMORY) and (made := spec_of(name)) is not None:
        return made
    find_here()
    if module:
        try:
            with user_code():
                importlib.import_module(module)
        except UserCodeError as error:
            raise UserError(
                f"the module of the environment {quoted(name)} cannot be imported: {placed(error)}"
            ) from error.cause
    if (spec := gymnasium.registry.get(id_)) is not None:
        return spec
    if (made := spec_of(name)) is not None:
        return made
    near = _near(id_, list(gymnasium.registry))
    hint = f"did you mean {' or '.join(near)}?" if near else "gymnasium.pprint_registry() lists all"
    raise UserError(f"no such environment {quoted(id_)}: {hint}")


def _near(name: str, known: Sequence[str]) -> list[str]:
    """The known names closest to this one, ignoring case: up to three that are about equally close."""
    likeness = {other: difflib.SequenceMatcher(None, name.lower(), other.lower()).ratio() for other in known}
    best = max(likeness.values(), default=0.0)
    return sorted(other for other in known if best >= 0.6 and likeness[other] > best - 0.05)[:3]
