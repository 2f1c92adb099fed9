"""Writes episodes of an environment that draws itself to a GIF or an MP4, with Gymnasium's own wrappers."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import gymnasium
import numpy as np
from gymnasium.wrappers import RecordVideo, RenderCollection

from burnish.run import UserError, writable_file, write_atomically

EXTRA = "pip install 'burnish[play]'"
FRAMES_PER_SECOND = 30
"""Of an environment that does not say its own."""
FOREVER = 10**9


class Film(Protocol):
    """A file in the making: `begin` wraps the environment, `look` comes after each reset and step, `finish` writes."""

    def begin(self, env: gymnasium.Env) -> gymnasium.Env: ...
    def look(self) -> None: ...
    def finish(self) -> None: ...


def film_of(out: Path) -> Film:
    """The film for this file. Raises UserError for an ending other than .gif and .mp4, a file that cannot be written,
    and a package that is not installed."""
    kinds: dict[str, tuple[Callable[[Path], Film], str]] = {".gif": (Gif, "PIL"), ".mp4": (Video, "moviepy")}
    if (suffix := out.suffix.lower()) not in kinds:
        raise UserError(f"{out} does not end in .gif or .mp4: name a file of one of these kinds")
    kind, package = kinds[suffix]
    try:
        __import__(package)
    except ImportError as error:
        raise UserError(f"a {suffix} file needs {package}, which is not installed: {EXTRA}") from error
    return kind(writable_file(out))


class Gif:
    """A GIF by Pillow, from the frames of `RenderCollection`; each is reduced to 256 colours when it is seen."""

    def __init__(self, out: Path) -> None:
        self.out, self.frames = out, []  # type: Path, list[Any]
        self.env: RenderCollection | None = None

    def begin(self, env: gymnasium.Env) -> gymnasium.Env:
        self.env = RenderCollection(env)
        return self.env

    def look(self) -> None:
        from PIL import Image

        assert self.env is not None
        seen: Any = self.env.render()
        for frame in seen:
            if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3:
                raise UserError(
                    f"render() gave {type(frame).__name__} in place of a picture, an array [height, width, 3] of "
                    "uint8: mend the environment's render"
                )
            self.frames.append(Image.fromarray(frame).quantize(256, dither=Image.Dither.NONE))

    def finish(self) -> None:
        assert self.env is not None
        rate = self.env.metadata.get("render_fps") or FRAMES_PER_SECOND
        # Hundredths of a second are GIF's unit, and viewers slow down what is shorter than two of them.
        each = max(20, round(100 / rate) * 10)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "film.gif"
            first, *others = self.frames
            first.save(path, save_all=True, append_images=others, duration=each, loop=0)
            write_atomically(self.out, path.read_bytes())


class Video:
    """An MP4 by `RecordVideo`, which writes it with moviepy."""

    def __init__(self, out: Path) -> None:
        self.out, self.folder = out, tempfile.TemporaryDirectory()
        self.env: RecordVideo | None = None

    def begin(self, env: gymnasium.Env) -> gymnasium.Env:
        folder = str(Path(self.folder.name) / "film")
        # A length beyond all episodes, so that they come one after the other in one file.
        self.env = RecordVideo(env, folder, episode_trigger=lambda episode: episode == 0, video_length=FOREVER)
        return self.env

    def look(self) -> None:
        """Nothing: the wrapper looks by itself."""

    def finish(self) -> None:
        assert self.env is not None
        if self.env.recording:
            self.env.stop_recording()
        files = list((Path(self.folder.name) / "film").glob("*.mp4"))
        if not files:
            raise UserError(f"the environment drew nothing for {self.out}: mend its render")
        write_atomically(self.out, files[0].read_bytes())
        self.folder.cleanup()
