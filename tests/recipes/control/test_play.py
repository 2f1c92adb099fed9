"""Policies that play in worlds whose returns are known, and what is said where nobody could watch."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from trained_policies import write_group, write_run

import burnish
from burnish.experience.control.environments import make_environments
from burnish.experience.control.trained import TrainedPolicy, load_policies
from burnish.recipes.control import play as module
from burnish.recipes.control.play import episodes_in, has_display, mode_of, without_window
from burnish.run import UserCodeError, UserError, user_errors
from recipes.classic_worlds import HERE, Broken, Stairs, Told
from recipes.control.test_film import Painted

HERE_TOO = "recipes.control.test_film:Painted"


@pytest.fixture(autouse=True)
def _without_display(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")


def test_returns_and_lengths_by_hand(tmp_path: Path) -> None:
    """On Told a step to the right earns 1, 2 and 4; three looks at steps and one at the start, per episode."""
    policy, found, looks = TrainedPolicy(load_policies(write_group(tmp_path, "any", {0: 1}))), [], []
    how: dict[str, Any] = {"deterministic": True, "seed": 0, "limited": True}
    episodes_in(Told(), policy, 2, told=lambda *x: found.append(x), look=lambda: looks.append(0), **how)
    assert (found, len(looks)) == ([(7.0, 3), (7.0, 3)], 8)


def test_an_episode_without_an_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ENDLESS", 2)
    policy = TrainedPolicy(load_policies(write_group(tmp_path, "any", {0: 1})))
    with pytest.raises(UserError, match="does not end: limit it with the option max_episode_steps"):
        episodes_in(Told(), policy, 1, True, 0, False, lambda earned, length: None)


def test_a_film_of_the_best_policy(tmp_path: Path) -> None:
    """Stairs earn 7 whatever one does. Of three episodes the first is in the film."""
    image = pytest.importorskip("PIL.Image")
    run, heard = write_run(tmp_path / "run", HERE_TOO, ppo={0: 1}, trpo={0: 1}), []
    found = burnish.play(run, algorithm="ppo", episodes=3, out=tmp_path / "x.gif", heard=lambda *x: heard.append(x))
    assert (found.returns, found.lengths, found.interval.mean) == ((7.0,) * 3, (3,) * 3, 7.0)
    assert found.policy.algorithm == "ppo"
    assert heard == [(1, 7.0, 3), (2, 7.0, 3), (3, 7.0, 3)]
    with image.open(tmp_path / "x.gif") as film:
        assert film.n_frames == 4
    alone = burnish.play(found.policy, env=lambda **how: Painted(**how), out=tmp_path / "y.gif", recorded=2, episodes=2)
    assert alone.returns == (7.0, 7.0)
    one = burnish.play(found.policy, env=lambda **how: Painted(**how), out=tmp_path / "z.gif", episodes=1)
    assert (one.interval, str(one)) == (None, "return 7 over 1 episode")
    with image.open(tmp_path / "y.gif") as film:
        assert film.n_frames == 8


def test_without_a_display_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_run(tmp_path / "run", HERE_TOO, ppo={0: 1})
    with pytest.raises(UserError, match=r"^there is no display to open a window on: write a film with --out play\.gif"):
        burnish.play(run)
    with pytest.raises(UserError, match="episodes and recorded must be at least 1"):
        burnish.play(run, episodes=0)
    with without_window():
        assert has_display()  # SDL's own, that shows nothing
    assert not has_display()
    monkeypatch.setenv("DISPLAY", ":0")
    assert has_display()


def test_an_environment_that_cannot_be_watched_is_refused() -> None:
    with pytest.raises(UserError, match="Stairs cannot be watched: its metadata name no render mode 'human'"):
        mode_of(Stairs(), "Stairs", "human")
    assert mode_of(Painted(), "Painted", "human") == "human"  # Gymnasium opens a window for its pictures
    assert mode_of(Painted(), "Painted", "rgb_array") == "rgb_array"


def test_other_spaces_and_a_fault_are_sentences(tmp_path: Path) -> None:
    policy = TrainedPolicy(load_policies(write_group(tmp_path, "any", {0: 1})))
    with pytest.raises(UserError, match=r"CartPole-v1 has the spaces Box.* but the policy learned with Box"):
        module.check_spaces(gymnasium.make("CartPole-v1"), policy, "CartPole-v1")
    error = burnish.run.UserCodeError(gymnasium.error.DependencyNotInstalled("pygame is not installed"))
    assert str(module.failed(error, "CartPole-v1", 1)) == (
        "CartPole-v1 needs a package to be watched, pygame is not installed; for Gymnasium's own: pip install "
        "'burnish[play]'"
    )
    assert str(module.failed(burnish.run.UserCodeError(ValueError("it fell")), "X", 2)) == (
        "X failed in episode 2: ValueError: it fell"
    )


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("array", "ValueError: a reward of shape (1,) where one number is expected: return float(reward)"),
        ("text", "ValueError: could not convert string to float: 'much'"),
        ("reward", "it gave a reward that is not finite"),
        ("no reward", "it gave a reward that is not finite"),
        ("large", "it gave a reward of 1e+39, which overflows float32: scale it"),
        ("observation", "it gave an observation that is not finite"),
        ("shape", "it gave an observation of shape (2,) where Box(0.0, 3.0, (1,), float32) was declared"),
        ("exit", "the environment called exit(0): let it raise an exception ("),
        ("_exit", "SystemExit: os._exit would end the whole run ("),
    ],
)
def test_what_training_does_not_accept_ends_play_in_a_sentence(
    fault: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second step of an episode; the sentence is that of training."""
    monkeypatch.setattr(module, "mode_of", lambda env, name, wanted: wanted)
    monkeypatch.setattr(module, "refuse_without_display", lambda: None)
    monkeypatch.setattr(module, "make_one", lambda *_, **how: Broken(fault))
    run = write_run(tmp_path / "run", f"{HERE}:Broken-v0", ppo={0: 1})
    with pytest.raises(UserError) as caught:
        burnish.play(run)
    start = f"{HERE}:Broken-v0 failed in episode 1: "
    assert str(caught.value).startswith(start + said)
    made = make_environments(f"{HERE}:Broken-v0", [1], 1, fault=fault)
    made.reset()
    for _ in range(2):
        moved = made.step(np.ones((1, 1), int), np.array([True]))
    told = moved.failed[0].replace("copy 0", "it").replace("ValueError: an observation", "it gave an observation")
    assert told.startswith(str(caught.value).removeprefix(start))


def test_where_an_environment_failed_is_told() -> None:
    def broken() -> None:
        raise KeyError("goal")

    with pytest.raises(UserCodeError) as caught, user_errors():
        broken()
    (line,) = [
        i
        for i, text in enumerate(Path(__file__).read_text().splitlines(), 1)
        if text.endswith('raise KeyError("goal")')
    ]
    assert str(module.failed(caught.value, "X", 2)).startswith("X failed in episode 2: KeyError: 'goal' (")
    assert str(module.failed(caught.value, "X", 2)).endswith(f"test_play.py, line {line})")
