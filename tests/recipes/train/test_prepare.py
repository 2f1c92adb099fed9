"""What a recipe sets before it computes: threads, determinism, memory."""

from typing import Any

import pytest
import torch

from burnish.config import Settings
from burnish.recipes.train import prepare
from burnish.recipes.train.prepare import prepare_torch, refuse_threads
from burnish.run import UserError


def test_emulated_bfloat16_is_said_to_be_slow(capsys: pytest.CaptureFixture[str]) -> None:
    """Without oneDNN, PyTorch emulates bfloat16 on every CPU."""
    with torch.backends.mkldnn.flags(enabled=False):
        for precision in ("auto", "float32"):
            prepare_torch(Settings(precision=precision, device="cpu"))
        prepare_torch(Settings(precision="bfloat16", device="cpu", quiet=True))
        assert capsys.readouterr().err == ""
        prepare_torch(Settings(precision="bfloat16", device="cpu"))
    assert capsys.readouterr().err.startswith("this CPU has no bfloat16 of its own and emulates it, and a training")


def test_new_tensors_are_not_filled_before_they_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deterministic algorithms fill them by default, to show reads of memory that nothing was written to."""
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    prepare_torch(Settings(device="cpu", quiet=True))
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]


def test_more_threads_than_the_system_allows_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch would abort. The system of this test allows four."""
    monkeypatch.setattr("burnish.recipes.train.prepare.threads_allowed", lambda count: min(count, 4))
    refuse_threads(4)
    with pytest.raises(UserError, match=r"^--threads 5: the system allows no more than 4; give fewer$"):
        refuse_threads(5)


@pytest.mark.parametrize(
    ("options", "kept"),
    [({}, True), ({"gradient_checkpointing": True}, False), ({"shard": "full"}, False), ({"device": "cuda"}, False)],
)
def test_freed_memory_is_kept_on_a_cpu_where_nothing_asks_for_little(
    options: dict[str, Any], kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    monkeypatch.setattr(prepare, "keep_freed_memory", lambda: calls.append(True))
    monkeypatch.setattr(prepare, "pick_device", lambda device: device)
    prepare_torch(Settings(**({"device": "cpu", "quiet": True} | options)))
    assert calls == [True] * kept
