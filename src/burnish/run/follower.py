"""The run folder in the processes of a run that do not write it."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import Any

from burnish.run.atomic import UserError, cannot_write, unfinished
from burnish.run.folder import LOCK, RunFolder
from burnish.run.log import LOGS
from burnish.run.records import HARMLESS
from burnish.run.world import World


class Follower(RunFolder):
    """A run's folder that another process of the run has locked and writes. It can be read; what would write does
    nothing."""

    def __init__(self, path: Path, resumed: bool) -> None:
        super().__init__(path, resumed, None)

    def __exit__(self, *_: object) -> None:
        pass

    def claim(
        self, config: dict[str, Any], free: Collection[str] = HARMLESS, defaults: Mapping[str, Any] | None = None
    ) -> None:
        pass

    def write_config(self, config: dict[str, Any]) -> None:
        pass

    def describe(self, environment: dict[str, Any]) -> list[str]:
        return []

    def replace_folder(self, name: str) -> AbstractContextManager[Path]:
        """The folder that the main process fills, while it does."""
        return nullcontext(unfinished(self.path / name))

    def append(self, name: str, record: dict[str, Any]) -> None:
        pass

    def rewind(self, offsets: dict[str, int], digests: Mapping[str, str] = MappingProxyType({})) -> None:
        pass


def make_logs(path: Path) -> None:
    """Make the folder of the processes' logs."""
    try:
        (path / LOGS).mkdir(exist_ok=True)
    except OSError as error:
        raise cannot_write(path / LOGS, error) from error


@contextmanager
def opened(path: str | Path, resume: bool, world: World) -> Iterator[RunFolder]:
    """`RunFolder.open` in the main process, and a `Follower` of it in the others.

    Raises UserError as `RunFolder.open` does, and where another process does not see the folder.
    """
    if world.is_main:
        with RunFolder.open(path, resume) as run:
            run.world = world
            if world.size > 1:
                make_logs(run.path)
            world.gather(run.resumed)
            yield run
        return
    run = Follower(Path(path), world.gather(False)[0])
    run.world = world
    if not (run.path / LOCK).exists():
        raise UserError(f"process {world.rank} does not see the folder {path} of process 0: use one that both see")
    yield run
