"""TensorBoard's own reader finds what was written, also after a kill."""

from pathlib import Path
from typing import Any

import pytest

from .helpers import follow, follow_twice, offsets_at

pytest.importorskip("tensorboard")

from burnish.run import RunFolder
from burnish.run.trackers.tensorboard import cell, markdown


def read(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder / "tensorboard"))
    found.Reload()
    return found


@pytest.mark.parametrize("how", [follow, follow_twice])
def test_scalars_and_texts_are_there_once(how: Any, tmp_path: Path) -> None:
    found = read(how(tmp_path / "run", "tensorboard"))
    assert set(found.Tags()["scalars"]) == {"loss", "loss/policy"}
    assert [event.step for event in found.Scalars("loss")] == [*range(1, 9)]
    assert [event.value for event in found.Scalars("loss")] == pytest.approx([1 / step for step in range(1, 9)])
    texts = {event.step: event.tensor_proto.string_val[0].decode() for event in found.Tensors("samples/text_summary")}
    assert [*texts] == [4, 8]
    assert texts[8].splitlines()[2] == "| 4 | 0 | good 0 |"
    (config,) = found.Tensors("config/text_summary")
    assert "    beta: 0.05\n" in config.tensor_proto.string_val[0].decode()


def test_what_lies_behind_the_checkpoint_is_hidden(tmp_path: Path) -> None:
    """Of a run that goes on from step 4 with other numbers, the old ones of steps 5 to 7 are gone."""
    from burnish.run.trackers import Trackers

    follow(tmp_path / "run", "tensorboard")
    with RunFolder.open(tmp_path / "run", resume=True) as run, Trackers(run, "tensorboard", [].append) as trackers:
        run.rewind(offsets_at(run, 4))
        trackers.start({}, 4)
        run.append("metrics", {"step": 5, "loss": 7.0})
    assert [event.value for event in read(tmp_path / "run").Scalars("loss")] == pytest.approx(
        [1, 1 / 2, 1 / 3, 1 / 4, 7]
    )


def test_markup_in_samples_stays_text() -> None:
    assert cell("a|b\n<b>*x*</b> `c`") == "a\\|b &lt;b>\\*x\\*&lt;/b> \\`c\\`"
    assert markdown([{"a": 1}, {"b": "x"}]) == "| a | b |\n| --- | --- |\n| 1 |  |\n|  | x |"
