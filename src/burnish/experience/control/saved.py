"""Saved policies of control: all that is needed to choose actions again, of each run of a group.

    policy.json           the environment, its spaces, the networks, the algorithm, the runs; sizes and checksums
    weights.safetensors   `run/policy/…`, `run/critic/…` and, where observations were normalised, `run/observations/…`
    training.safetensors  what training goes on from: the optimizer's state, and the statistics of the rewards

Nothing is unpickled. `policy.json` is written last: where it is, the others are complete.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from burnish.experience.control.described import described, space_of
from burnish.policies.control.network import Network
from burnish.run import UserError, read_mapping, sha256, write_atomically

POLICY, WEIGHTS, TRAINING = "policy.json", "weights.safetensors", "training.safetensors"
FORMAT, VERSION = "burnish control policy", 1


@dataclass(frozen=True)
class Saved:
    """What the policies of a group's runs have in common, and facts about each run by its number.

    `environment` has `id`, `options` and `wrappers`. `clip` is the bound of normalised observations, None where they
    are not normalised. A run has its `seed`, its `episodes` and environment `steps`, and `return`, the mean of its last
    100 episodes.
    """

    algorithm: str
    hyperparameters: Mapping[str, Any]
    environment: Mapping[str, Any]
    observation_space: gymnasium.Space
    action_space: gymnasium.Space
    network: Network
    clip: float | None
    runs: Mapping[int, Mapping[str, Any]]


Tensors = Mapping[int, Mapping[str, Tensor]]
"""Tensors by name, of each run by its number."""


def save_policies(folder: Path, saved: Saved, weights: Tensors, training: Tensors | None = None) -> None:
    """Write the policies into an existing folder. Raises UserError where the disk or a space does not permit it."""
    files = {WEIGHTS: weights} | ({} if training is None else {TRAINING: training})
    written = {}
    content = {
        "format": FORMAT,
        "version": VERSION,
        "algorithm": saved.algorithm,
        "hyperparameters": dict(saved.hyperparameters),
        "environment": dict(saved.environment),
        "observation_space": described(saved.observation_space),
        "action_space": described(saved.action_space),
        "network": saved.network.as_dict(),
        "normalised_observations": None if saved.clip is None else {"clip": saved.clip},
        "runs": {str(number): dict(facts) for number, facts in saved.runs.items()},
    }
    for name, tensors in files.items():
        write_atomically(folder / name, save(flat(tensors)))
        written[name] = {"size": (folder / name).stat().st_size, "sha256": sha256(folder / name)}
    text = json.dumps(content | {"files": written}, indent=2, allow_nan=False, default=str)
    write_atomically(folder / POLICY, text + "\n")


def flat(tensors: Tensors) -> dict[str, Tensor]:
    return {
        f"{number}/{name}": x.detach().cpu().contiguous() for number, own in tensors.items() for name, x in own.items()
    }


def read_policies(folder: Path) -> Saved:
    """What `policy.json` says. Raises UserError where it is missing, damaged, or of another version."""
    path = folder / POLICY
    if not path.is_file():
        raise UserError(f"{folder} has no {POLICY}, and so no policy that can be loaded: train it again")
    found = read_mapping(path)
    if found.get("format") != FORMAT:
        raise UserError(f"{path} is not a saved policy of control: give the folder of a run of `burnish classic`")
    if found.get("version") != VERSION:
        raise UserError(
            f"{path} has version {found.get('version')} of the format, and this Burnish reads version {VERSION}: load "
            "it with the Burnish that wrote it, or train it again"
        )
    try:
        normalised = found["normalised_observations"]
        environment = {"id": str, "options": dict, "wrappers": list}
        if not all(isinstance(found["environment"][key], kind) for key, kind in environment.items()):
            raise ValueError("environment has no id, options and wrappers")
        facts = {
            int(number): {"seed": 0, "episodes": 0, "steps": 0, "return": None} | own
            for number, own in found["runs"].items()
        }
        return Saved(
            str(found["algorithm"]),
            dict(found["hyperparameters"]),
            found["environment"],
            space_of(found["observation_space"]),
            space_of(found["action_space"]),
            Network.from_dict(found["network"]),
            None if normalised is None else float(normalised["clip"]),
            facts,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise UserError(f"{path} is damaged ({reason}): restore it") from error


def read_tensors(folder: Path, name: str, numbers: list[int]) -> dict[int, dict[str, Tensor]]:
    """The tensors of these runs in a file beside `policy.json`, whose size and checksum it must have.

    Raises UserError where the file is missing or is not as it was written.
    """
    path, files = folder / name, read_mapping(folder / POLICY).get("files")
    expected = files.get(name) if isinstance(files, dict) else None
    if not isinstance(expected, dict):
        raise UserError(f"{folder / POLICY} does not name {name}: restore both files")
    try:
        size = path.stat().st_size
        if size != expected.get("size"):
            raise UserError(f"{path} has {size} bytes in place of {expected.get('size')}: restore it")
        if sha256(path) != expected.get("sha256"):
            raise UserError(f"{path} is not as it was written, its checksum differs: restore it")
        tensors = load_file(path)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: restore it") from error
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} cannot be read ({' '.join(str(error).split())}): restore it") from error
    by_number: dict[int, dict[str, Tensor]] = {number: {} for number in numbers}
    for key, tensor in tensors.items():
        number, _, rest = key.partition("/")
        if number.isdecimal() and int(number) in by_number:
            by_number[int(number)][rest] = tensor
    return by_number
