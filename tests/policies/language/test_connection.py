"""What is said to a server: how much at once, and from where weights are handed over.

The rest is tested with the sampler that has the connection, see test_served.py.
"""

import json
import tempfile
from pathlib import Path

import pytest

from burnish.policies.interface import SamplerError
from burnish.policies.language.connection import parts_of, place_for_weights
from burnish.recipes.serve.app import MOST_BYTES
from burnish.recipes.serve.requests import MOST_DRAWN, MOST_TOKENS


@pytest.mark.parametrize(
    ("lengths", "limit", "expected"),
    [
        ([3] * 1000, 64, [512, 488]),
        ([24_576] * 100, 8_192, [32, 32, 32, 4]),  # 32,768 tokens each, of 1,048,576
        ([24_576] * 33 + [1] * 3, 8_192, [32, 4]),
        ([5, 5], 2_000_000, [1, 1]),  # each is too long alone
        ([], 8, []),
    ],
)
def test_no_request_is_larger_than_a_server_takes(lengths: list[int], limit: int, expected: list[int]) -> None:
    """512 prompts of 24,576 tokens would be a request of 12.6 million ids: 75 MiB."""
    prompts = [range(1_000_000_000, 1_000_000_000 + length) for length in lengths]
    parts = list(parts_of(prompts, limit))
    assert [len(prompts[part]) for part in parts] == expected
    assert [i for part in parts for i in range(len(prompts))[part]] == list(range(len(lengths)))
    for part in parts[:1]:
        assert len(json.dumps([list(prompt) for prompt in prompts[part]])) < MOST_BYTES / 2
        assert limit > MOST_TOKENS or len(prompts[part]) * limit <= MOST_DRAWN


def test_the_place_for_weights_is_removed(tmp_path: Path) -> None:
    for given in (tmp_path / "sampler", None):
        with place_for_weights(given) as folder:
            folder.mkdir(exist_ok=True)
            (folder / "weights.safetensors").touch()
            assert given in (folder, None)
        assert not folder.exists()


def test_without_a_place_for_the_weights_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    with (
        pytest.raises(SamplerError, match=r"there is no place for the sampler's weights .*/nowhere/burnish-"),
        place_for_weights(None),
    ):
        pass
