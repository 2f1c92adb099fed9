"""Saved policies: what is written is read, and every fault of the files is a sentence."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from trained_policies import write_group

from burnish.experience.control.saved import read_policies, read_tensors
from burnish.run import UserError


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_group(tmp_path, "Stairs-v0", {2: 1, 5: 0}, returns={2: 4.0}, options={"steep": 2})
    saved = read_policies(tmp_path)
    assert (saved.algorithm, saved.clip, list(saved.runs)) == ("ppo", None, [2, 5])
    assert saved.environment == {"id": "Stairs-v0", "options": {"steep": 2}, "wrappers": []}
    assert saved.runs[2] == {"seed": 2, "episodes": 1, "steps": 3, "return": 4.0}
    tensors = read_tensors(tmp_path, "weights.safetensors", [5])
    assert list(tensors) == [5]
    assert tensors[5]["policy/layers.1.bias"].tolist() == [30.0, 0.0]


def cut(folder: Path) -> None:
    file = folder / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:-8])


def turned(folder: Path) -> None:
    file = folder / "weights.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))


def changed(**keys: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / "policy.json"
        content = json.loads(file.read_text()) | keys
        file.write_text(json.dumps({key: value for key, value in content.items() if value != "gone"}))

    return change


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (cut, r"weights.safetensors has \d+ bytes in place of \d+: restore it$"),
        (turned, "weights.safetensors is not as it was written, its checksum differs: restore it$"),
        (lambda folder: (folder / "weights.safetensors").unlink(), "weights.safetensors is missing: restore it$"),
        (lambda folder: (folder / "policy.json").unlink(), "has no policy.json, and so no policy that can be loaded"),
        (lambda folder: (folder / "policy.json").write_text("{"), "policy.json cannot be read"),
        (changed(version=2), "has version 2 of the format, and this Burnish reads version 1: load it with the Burnish"),
        (changed(format="poem"), "is not a saved policy of control"),
        (changed(network="gone"), "policy.json is damaged .'network' is missing.: restore it$"),
        (changed(observation_space={"type": "Graph"}), "policy.json is damaged .* describes no space"),
        (changed(environment={"id": 3}), "policy.json is damaged"),
        (changed(files={}), "does not name weights.safetensors: restore both files"),
    ],
)
def test_a_fault_of_the_files_is_a_sentence(fault: Callable[[Path], object], sentence: str, tmp_path: Path) -> None:
    write_group(tmp_path, "Stairs-v0", {0: 1})
    fault(tmp_path)
    with pytest.raises(UserError, match=sentence):
        read_tensors(tmp_path, "weights.safetensors", list(read_policies(tmp_path).runs))
