"""Folders of `burnish classic` with policies that always choose the same action, without any training."""

from pathlib import Path
from typing import Any

import gymnasium
from gymnasium.spaces import Box, Discrete

from burnish.experience.control.saved import Saved, save_policies
from burnish.policies.control.network import Network

SIZES = (3,)


def write_group(
    folder: Path,
    env: str,
    actions: dict[int, int],
    *,
    algorithm: str = "ppo",
    returns: dict[int, float] | None = None,
    spaces: tuple[gymnasium.Space, gymnasium.Space] = (Box(0, 3, (1,)), Discrete(2)),
    options: dict[str, Any] | None = None,
) -> Path:
    """A group whose run `number` always chooses `actions[number]`; `returns` are those of its training."""
    network = Network(spaces[0].shape[0], int(spaces[1].n), False, SIZES)  # type: ignore[index, attr-defined]
    weights = {}
    for number, action in actions.items():
        named = {f"policy/{name}": x[0] for name, x in network.policy([number]).named().items()}
        last = f"policy/layers.{len(SIZES)}"
        named[f"{last}.weight"].zero_()
        named[f"{last}.bias"][action] = 30.0  # the others have a probability of e⁻³⁰
        weights[number] = named
    facts = {n: {"seed": n, "episodes": 1, "steps": 3, "return": (returns or {}).get(n, 0.0)} for n in actions}
    environment = {"id": env, "options": options or {}, "wrappers": []}
    folder.mkdir(parents=True, exist_ok=True)
    save_policies(folder, Saved(algorithm, {}, environment, *spaces, network, None, facts), weights)
    return folder


def write_run(folder: Path, env: str, **algorithms: dict[int, int]) -> Path:
    """A folder of an experiment with a group per algorithm."""
    (folder / "groups").mkdir(parents=True)
    for name, actions in algorithms.items():
        write_group(folder / "groups" / name, env, actions, algorithm=name)
    (folder / "config.yaml").write_text(f"env: {env}\n")
    return folder
