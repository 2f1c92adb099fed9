"""Films of environments that draw themselves: what is in the file, and what is said where none can be written."""

import importlib.util
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from burnish.recipes.control.film import film_of
from burnish.run import UserError
from recipes.classic_worlds import Stairs


class Painted(Stairs):
    """Stairs that show their height as a grey: 0, 80, 160, 240."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(self, render_mode: str | None = "rgb_array", picture: Any = None) -> None:
        self.render_mode, self.picture = render_mode, picture

    def render(self) -> Any:
        return np.full((4, 6, 3), 80 * self.height, np.uint8) if self.picture is None else self.picture


def climb(env: gymnasium.Env, look: Any, episodes: int) -> None:
    for _ in range(episodes):
        env.reset()
        look()
        for _ in range(3):
            env.step(0)
            look()


def test_a_gif_has_a_picture_per_step(tmp_path: Path) -> None:
    """Two episodes of a start and three steps, a tenth of a second each."""
    image = pytest.importorskip("PIL.Image")
    film = film_of(tmp_path / "film.gif")
    climb(film.begin(Painted()), film.look, 2)
    film.finish()
    with image.open(tmp_path / "film.gif") as found:
        greys = []
        for k in range(found.n_frames):
            found.seek(k)
            greys.append(np.asarray(found.convert("RGB")).mean())
            assert found.info["duration"] == 100
        assert (found.size, greys) == ((6, 4), [0, 80, 160, 240, 0, 80, 160, 240])


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    film = film_of(tmp_path / "film.gif")
    env = film.begin(Painted(picture="stairs"))
    env.reset()
    with pytest.raises(UserError, match=r"render\(\) gave str in place of a picture"):
        film.look()


def test_a_video_has_all_episodes(tmp_path: Path) -> None:
    pytest.importorskip("moviepy")
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    film = film_of(tmp_path / "film.mp4")
    climb(film.begin(Painted(picture=np.zeros((32, 32, 3), np.uint8))), film.look, 2)
    film.finish()
    frames = ffmpeg.read_frames(str(tmp_path / "film.mp4"))
    assert next(frames)["fps"] == 10
    assert len(list(frames)) in (7, 8)  # rounding may cost the last one in writing or reading
    assert [path.name for path in tmp_path.iterdir()] == ["film.mp4"]


def test_a_file_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"film\.webm does not end in \.gif or \.mp4"):
        film_of(tmp_path / "film.webm")
    for suffix, package in ((".gif", "PIL"), (".mp4", "moviepy")):
        if importlib.util.find_spec(package) is None:
            with pytest.raises(
                UserError, match=f"needs {package}, which is not installed: pip install 'burnish.play.'"
            ):
                film_of(tmp_path / f"film{suffix}")
