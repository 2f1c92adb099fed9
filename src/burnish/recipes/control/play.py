"""`burnish play`: watch a trained policy of control, in a window or as a film, and count what it earns."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from burnish.evaluation.statistics import Interval, bootstrap_interval
from burnish.experience.control.copies import one_number
from burnish.experience.control.environments import make_one, time_limit
from burnish.experience.control.made import name_of
from burnish.experience.control.replay import ENDLESS, endless
from burnish.experience.control.spaces import unusable
from burnish.experience.control.trained import TrainedPolicy, kind_of
from burnish.experience.control.vector import reason_of
from burnish.recipes.control.film import EXTRA, film_of
from burnish.recipes.control.load import load_policy
from burnish.run import UserCodeError, UserError, hushed, user_code

EPISODES, DRIVER = 10, "SDL_VIDEODRIVER"


@dataclass(frozen=True)
class Played:
    """The episodes of a policy: returns, lengths, and the mean return with its 95 % interval, None for one episode."""

    policy: TrainedPolicy
    returns: tuple[float, ...]
    lengths: tuple[int, ...]
    interval: Interval | None

    def __str__(self) -> str:
        if self.interval is None:
            return f"return {self.returns[0]:.3g} over 1 episode"
        return f"mean return {self.interval} over {len(self.returns)} episodes"


class UnusableError(UserError):
    """An environment gave numbers that no policy computes with."""


def play(
    run: str | Path | TrainedPolicy,
    *,
    algorithm: str | None = None,
    number: int | None = None,
    episodes: int = EPISODES,
    deterministic: bool = True,
    out: str | Path | None = None,
    recorded: int = 1,
    env: Any = None,
    env_options: Mapping[str, Any] | None = None,
    seed: int = 0,
    quiet: bool = False,
    heard: Callable[[int, float, int], None] = lambda episode, earned, length: None,
) -> Played:
    """Let a trained policy of control play in its environment, where one can watch.

    Args:
        run: A folder of `burnish classic`, or what `burnish.load` returned.
        algorithm: Whose policy; default: the best, see `number`.
        number: The run of the group; default: the one whose last 100 training episodes returned most.
        episodes: How many episodes are played.
        deterministic: Choose the likeliest action, or else draw one from the policy, as in training.
        out: A file .gif or .mp4 to write; default: a window.
        recorded: How many episodes, from the first on, are in the file.
        env: What makes the environment, where it is a function that cannot be imported.
        env_options: Options of the environment, beside those that it was trained with.
        seed: Of the environment's first episode and of sampled actions.
        quiet: Print no warnings.
        heard: Called after each episode with its number, return and length.

    Returns:
        `Played`: `policy`, `returns`, `lengths`, and `interval`, the mean return with its 95 % interval, which is
        None for a single episode.

    Raises:
        UserError: Where there is no such policy, no display for a window, no package for the file, or the environment
            fails or cannot be drawn.
    """
    if episodes < 1 or recorded < 1:
        raise UserError("episodes and recorded must be at least 1")
    policy = run if isinstance(run, TrainedPolicy) else load_policy(run, algorithm, number, seed)
    film = None if out is None else film_of(Path(out))
    if film is None:
        refuse_without_display()
    name = policy.environment["id"] if env is None else name_of(env) if callable(env) else str(env)
    options = {**policy.environment["options"], **(env_options or {})}
    wrappers = policy.environment["wrappers"]
    with hushed(quiet), contextlib.nullcontext() if film is None else without_window():
        limited = time_limit(name, options) is not None
        mode = mode_of(make_one(name, wrappers, **options), name, "human" if film is None else "rgb_array")
        made = make_one(name, wrappers, **options, render_mode=mode)
        found: list[tuple[float, int]] = []
        try:
            check_spaces(made, policy, name)

            def told(earned: float, length: int) -> None:
                found.append((earned, length))
                heard(len(found), earned, length)

            often = partial(episodes_in, policy=policy, deterministic=deterministic, limited=limited, told=told)
            if film is None:
                often(made, episodes=episodes, seed=seed)
            else:
                first = min(recorded, episodes)
                often(film.begin(made), episodes=first, seed=seed, look=film.look)
                film.finish()
                often(made, episodes=episodes - first, seed=None)
        except UserCodeError as error:
            raise failed(error, name, len(found) + 1) from error.cause
        except UnusableError as error:
            raise UserError(f"{name} failed in episode {len(found) + 1}: {error}") from error
        except KeyboardInterrupt:
            if not found or film is not None:
                raise
        finally:
            made.close()
    returns, lengths = zip(*found, strict=True)
    return Played(policy, returns, lengths, bootstrap_interval(returns) if len(returns) > 1 else None)


def episodes_in(
    env: gymnasium.Env,
    policy: TrainedPolicy,
    episodes: int,
    deterministic: bool,
    seed: int | None,
    limited: bool,
    told: Callable[[float, int], Any],
    look: Callable[[], None] = lambda: None,
) -> None:
    """Play whole episodes; `look` comes after each reset and step, `told` gets an episode's return and length.

    Raises `UnusableError` and UserCodeError for what training does not accept of an environment either.
    """

    for _ in range(episodes):
        with user_code():
            observation, _ = env.reset(seed=seed)
        refuse_unread(policy, observation)
        look()
        seed, earned, length, ended = None, 0.0, 0, False
        while not ended:
            if not limited and length >= ENDLESS:
                raise endless(policy.environment["id"])
            action = policy.act(observation, deterministic)
            with user_code():
                observation, reward, terminated, truncated, _ = env.step(action)
                own, ended = np.float64(one_number(reward)), bool(terminated or truncated)
            refuse("a reward", np.array([[own]]))
            refuse_unread(policy, observation)
            look()
            earned, length = earned + float(own), length + 1
        told(earned, length)


def refuse(what: str, numbers: np.ndarray) -> None:
    if (found := unusable(numbers)) is not None:
        raise UnusableError(f"it gave {what} {found[1]}")


def refuse_unread(policy: TrainedPolicy, observation: Any) -> None:
    """Raise UnusableError where this is not one observation of the policy's space, in numbers that it computes with."""
    try:
        one, rows = policy.read(observation)
    except UserError:
        one, rows = False, np.zeros((0, 0))
    if not one:
        raise UnusableError(f"it gave {kind_of(observation)} where {policy.observation_space} was declared")
    refuse("an observation", rows)


def refuse_without_display() -> None:
    """Raise UserError where there is no display to open a window on."""
    if not has_display():
        raise UserError(
            "there is no display to open a window on: write a film with --out play.gif (or .mp4), or see the returns "
            "alone with `burnish evaluate`"
        )


@contextlib.contextmanager
def without_window() -> Iterator[None]:
    """Let SDL, with which many environments draw, draw without a display, where there is none."""
    if has_display():
        yield
        return
    os.environ[DRIVER] = "dummy"
    try:
        yield
    finally:
        del os.environ[DRIVER]


def has_display() -> bool:
    named = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", DRIVER))
    return named or not sys.platform.startswith("linux")


def mode_of(env: gymnasium.Env, name: str, wanted: str) -> str:
    """The render mode to make the environment with. Raises UserError where it cannot draw itself."""
    modes: Sequence[str] = env.metadata.get("render_modes") or ()
    env.close()
    if wanted not in modes and "rgb_array" not in modes:  # Gymnasium shows pictures in a window of its own
        raise UserError(
            f"{name} cannot be watched: its metadata name no render mode {wanted!r}; `burnish evaluate` gives the "
            "returns, and docs/own_environment.md shows a render"
        )
    return wanted


def check_spaces(env: gymnasium.Env, policy: TrainedPolicy, name: str) -> None:
    if (env.observation_space, env.action_space) != (policy.observation_space, policy.action_space):
        raise UserError(
            f"{name} has the spaces {env.observation_space} and {env.action_space}, but the policy learned with "
            f"{policy.observation_space} and {policy.action_space}: restore the environment, or train again"
        )


def failed(error: UserCodeError, name: str, episode: int) -> UserError:
    if isinstance(error.cause, gymnasium.error.DependencyNotInstalled | ImportError):
        return UserError(f"{name} needs a package to be watched, {error.cause}; for Gymnasium's own: {EXTRA}")
    return UserError(f"{name} failed in episode {episode}: {reason_of(error)}")
