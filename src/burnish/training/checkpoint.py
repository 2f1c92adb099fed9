"""Checkpoints: folders `step-000100/` that are complete or absent, with a checksum per file.

    tensors.safetensors   weights, optimizer, anything that is a tensor, by name
    state.json            the rest
    manifest.json         size and SHA-256 of the others

Where the weights or the optimizer's state are divided among processes, each of them writes a file of `shards/` in place
of tensors.safetensors, see `burnish.training.sharded`. Nothing is unpickled. Only the process that holds the run folder
may call `save` and `latest`: both remove what a killed writer left unfinished.
"""

import json
import math
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from burnish.run import UserError, clean_leftovers, remove_folder_atomically, save_folder_atomically, sha256
from burnish.run.atomic import cannot_write, unfinished
from burnish.run.world import CONNECTION, LostError, World
from burnish.training import sharded

TENSORS, STATE, MANIFEST, SHARDS = "tensors.safetensors", "state.json", "manifest.json", "shards"
FORMAT = 1
NON_FINITE = "$float"


@dataclass(frozen=True)
class Checkpoint:
    """What `save` was given, bit for bit; tensors are on the CPU and share no memory.

    Of a checkpoint that processes wrote together, `shards` is the folder of the tensors, and `tensors` is empty.
    """

    path: Path
    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]
    shards: Path | None = None

    def whole(self) -> dict[str, Tensor]:
        """All tensors, whole, however they were written."""
        return self.tensors if self.shards is None else sharded.read_whole(self.shards)


class _BrokenError(Exception):
    """A checkpoint is damaged; the message says how."""


def save(folder: Path, step: int, tensors: dict[str, Tensor], state: dict[str, Any], keep: int = 2) -> Path:
    """Write the checkpoint of `step` into `folder`, then remove all but the newest `keep`.

    `state` holds JSON values (text keys, lists instead of tuples), and ±∞ and NaN. Checkpoints of later steps, which
    the run did not resume from, are removed. Raises `UserError` where the disk refuses, with earlier checkpoints
    untouched, and ValueError for a `state` that would not be read back the same.
    """
    if keep < 1:
        raise ValueError(f"keep must be at least 1, not {keep}")
    return _save(folder, step, state, keep, lambda new: save_file(_unshared(tensors), new / TENSORS))


def save_together(
    folder: Path, step: int, tensors: dict[str, Tensor], state: dict[str, Any], keep: int, world: World
) -> None:
    """`save` by all processes of the `world`, each of which writes its shards of the tensors.

    The main one then writes the manifest, and gives the folder its name: it is complete or absent.
    A `Saving` may be under way meanwhile: it communicates in a process group of its own, and two of them would mix
    their messages there.
    """

    def write(new: Path) -> None:
        world.barrier()  # the folder is there
        sharded.write(new / SHARDS, tensors)

    if world.is_main:
        _save(folder, step, state, keep, write)
    else:
        final = _place(folder, step)
        try:
            write(unfinished(final))
        except OSError as error:
            raise cannot_write(final, error) from error
    world.barrier()


class Saving:
    """A checkpoint that all processes of the `world` write together while they go on, from copies of the tensors.

    It is complete or absent: the main process writes the manifest and gives the folder its name when every part of it
    is there. A process that ends waits for that.
    """

    def __init__(
        self, folder: Path, step: int, tensors: dict[str, Tensor], state: dict[str, Any], keep: int, world: World
    ) -> None:
        self.world, self.final = world, _place(folder, step)
        group, executor = world.beside(), ThreadPoolExecutor(1)
        if not world.is_main:
            world.barrier()  # the folder is there
            self.done = executor.submit(sharded.begin(unfinished(self.final) / SHARDS, tensors, group))
        else:
            text = _to_json(state)
            with ExitStack() as begun:
                new = begun.enter_context(save_folder_atomically(self.final))
                world.barrier()
                finish = sharded.begin(new / SHARDS, tensors, group)
                stack = begun.pop_all()

            def complete() -> None:
                with stack:
                    finish()
                    _conclude(new, step, text)
                _keep(folder, step, keep)

            self.done = executor.submit(complete)
        executor.shutdown(wait=False)

    def wait(self) -> None:
        """Wait until the checkpoint is there; all processes have to call this. Raises UserError where the disk
        refuses."""
        error: Exception | None = None
        try:
            with self.world.losing(CONNECTION):
                self.done.result()
        except LostError:
            raise
        except (OSError, UserError) as failure:
            error = failure if isinstance(failure, UserError) else cannot_write(self.final, failure)
        for one in self.world.gather(error):
            if one is not None:
                raise one


def _place(folder: Path, step: int) -> Path:
    return folder / f"step-{step:06d}"


def _save(folder: Path, step: int, state: dict[str, Any], keep: int, write: Callable[[Path], None]) -> Path:
    """`save`, in which `write` writes the tensors into a folder."""
    text, final = _to_json(state), _place(folder, step)
    with save_folder_atomically(final) as new:
        write(new)
        _conclude(new, step, text)
    _keep(folder, step, keep)
    return final


def _conclude(new: Path, step: int, state: str) -> None:
    """Write the state and the manifest of a checkpoint whose tensors are there."""
    (new / STATE).write_text(state, encoding="utf-8")
    manifest = {"format": FORMAT, "step": step, "files": {name: _describe(new / name) for name in _files(new)}}
    (new / MANIFEST).write_text(json.dumps(manifest, separators=(",", ":")), encoding="utf-8")


def _keep(folder: Path, step: int, count: int) -> None:
    """Remove the checkpoints of later steps, and all but the newest."""
    remove_after(folder, step)
    for _, path in _present(folder)[count:]:
        remove_folder_atomically(path)


def _files(folder: Path) -> list[str]:
    """The names of a checkpoint's files, without the manifest; in the order in which they are compared."""
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return sorted(name for name in names if name != MANIFEST)[::-1]


def remove_after(folder: Path, step: int) -> None:
    """Remove the checkpoints of later steps than `step`."""
    for later, path in _present(folder) if folder.is_dir() else []:
        if later > step:
            remove_folder_atomically(path)


def latest(folder: Path, warn: Callable[[str], object], before: int | float = math.inf) -> Checkpoint | None:
    """The newest intact checkpoint in `folder` of a step `before` this one; None without any.

    One that is truncated, altered or incomplete is reported to `warn`, and the one before is tried. Raises `UserError`
    where all are damaged.
    """
    if folder.is_dir():
        clean_leftovers(folder)
    return newest(folder, warn, before)


def newest(folder: Path, warn: Callable[[str], object], before: int | float = math.inf) -> Checkpoint | None:
    """`latest` for any process: it only reads."""
    if not folder.is_dir():
        return None
    broken: list[str] = []
    for step, path in _present(folder):
        if step >= before:
            continue
        try:
            found = _load(path, step)
        except _BrokenError as error:
            broken.append(f"{path.name}: {error}")
            continue
        for what in broken:
            warn(f"a checkpoint in {folder} is broken ({what}): going on from {path.name}")
        return found
    if broken:
        raise UserError(
            f"no checkpoint in {folder} is intact ({'; '.join(broken)}): restore one, or delete the folder to restart"
        )
    return None


def _present(folder: Path) -> list[tuple[int, Path]]:
    """Steps and folders of the checkpoints, newest first."""
    found = [(re.fullmatch(r"step-(\d{6,})", path.name), path) for path in folder.iterdir() if path.is_dir()]
    return sorted(((int(match[1]), path) for match, path in found if match), reverse=True)


def _load(path: Path, step: int) -> Checkpoint:
    """The checkpoint at `path`; raises `_BrokenError` unless every byte is as written."""
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
        if (manifest["format"], manifest["step"]) != (FORMAT, step):
            raise _BrokenError(f"{MANIFEST} has another format or step")
        together = sorted(name for name in manifest["files"] if name.startswith(f"{SHARDS}/"))
        for name in (*(together or [TENSORS]), STATE):
            was, now = manifest["files"][name], _describe(path / name)
            if was["size"] != now["size"]:
                raise _BrokenError(f"{name} has {now['size']} bytes in place of {was['size']}")
            if was["sha256"] != now["sha256"]:
                raise _BrokenError(f"the checksum of {name} differs")
        state = _from_json((path / STATE).read_text(encoding="utf-8"))
        if together:
            if more := sorted(set(_files(path)) - manifest["files"].keys()):
                raise _BrokenError(f"{more[0]} is not in {MANIFEST}")
            return Checkpoint(path, step, {}, state, path / SHARDS)
        # Copies, in aligned memory that no later change of the file can reach.
        tensors = {name: tensor.clone() for name, tensor in load_file(path / TENSORS).items()}
        return Checkpoint(path, step, tensors, state)
    except FileNotFoundError as error:
        raise _BrokenError(f"{Path(error.filename).name} is missing") from error
    except OSError as error:
        raise _BrokenError(f"it cannot be read, {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError, SafetensorError) as error:
        raise _BrokenError(f"{MANIFEST} is damaged") from error


def _describe(path: Path) -> dict[str, Any]:
    return {"size": path.stat().st_size, "sha256": sha256(path)}


def _unshared(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same values on the CPU, contiguous, each in its own memory; copied only where necessary."""
    seen: set[int] = set()
    alone: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        own = tensor.detach().to("cpu").contiguous()
        address = own.untyped_storage().data_ptr()
        if address in seen:
            own = own.clone(memory_format=torch.contiguous_format)
        seen.add(address)
        alone[name] = own
    return alone


def _to_json(state: dict[str, Any]) -> str:
    text = json.dumps(_tagged(state), allow_nan=False)
    if repr(_from_json(text)) != repr(state):
        raise ValueError("a checkpoint's state must be what JSON gives back: text keys, lists, no tuples")
    return text


def _from_json(text: str) -> Any:
    return json.loads(text, object_hook=lambda o: float(o[NON_FINITE]) if o.keys() == {NON_FINITE} else o)


def _tagged(value: Any) -> Any:
    """`value` with ±∞ and NaN, which JSON cannot represent, as `{"$float": "inf"}`."""
    if isinstance(value, dict):
        return {key: _tagged(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_tagged(item) for item in value]
    return {NON_FINITE: repr(value)} if isinstance(value, float) and not math.isfinite(value) else value
