"""A group of the study: what it writes down, and that its runs are those that they would be alone."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from burnish.experience.control.fixed_cartpole import FIXED_CARTPOLE
from burnish.experience.control.teacher import Comparisons
from burnish.recipes.control.comparisons_group import Variant, VariantGroup, actions_of, run_variant
from burnish.recipes.control.settings import method
from burnish.rewards.predicted import Predictor

QUICK: dict[str, Any] = {
    "warmup": 1,
    "segment": 20,
    "first_fits": 3,
    "fits": 2,
    "batch_size": 4,
    "predictor": Predictor(hidden=(8,)),
}


def group(variant: Variant, first: int, last: int) -> VariantGroup:
    knobs = {"copies": 4, "rollout": 40, "batch_size": 40, "update_epochs": 2, "gamma": 0.9}
    return VariantGroup(method("ppo", knobs), FIXED_CARTPOLE, {}, (8,), 7, 3, first, last, variant)


@pytest.mark.parametrize("comparisons", [None, Comparisons(labels=8, **QUICK)])
def test_a_run_of_a_group_is_the_run_alone(tmp_path: Path, comparisons: Comparisons | None) -> None:
    """In float32 and over few updates, so that rounding stays small: the same falls, in the same steps."""
    variant, heard = Variant("this", "This", comparisons), []
    found = run_variant(group(variant, 0, 2), tmp_path / "three", heard.append)
    alone = run_variant(group(variant, 2, 2), tmp_path / "one")
    table = pd.read_parquet(tmp_path / "three" / "returns.parquet")
    assert table.run.unique().tolist() == [0, 1, 2]
    assert set(table.variant) == {"this"}
    assert set(table.labels) == {8 if comparisons else 0}
    theirs = pd.read_parquet(tmp_path / "one" / "returns.parquet")
    pd.testing.assert_frame_equal(table[table.run == 2].reset_index(drop=True), theirs.reset_index(drop=True))
    assert json.loads((tmp_path / "three" / "group.json").read_text()) == found
    assert heard[-1] == 3 * 7
    assert found["failed"] == {}
    if comparisons:
        assert list(found["measured"]) == ["0", "1", "2"]
        # A run learns last when 4 of its 7 episodes are over: 8 · (¼ + ¾ · log(1 + 4/7/0.8/¼) / log 5) = 7.03 labels.
        assert {one["labels"] for one in found["measured"].values()} == {7}
        assert found["measured"]["2"]["ever"] == pytest.approx(alone["measured"]["2"]["ever"], abs=1e-3)
    else:
        assert found["measured"] == {}


def test_actions_of_both_kinds() -> None:
    assert actions_of(FIXED_CARTPOLE).count == 2
    boxed = actions_of("Pendulum-v1")
    np.testing.assert_array_equal([boxed.low, boxed.high], [[-2], [2]])


def test_variants_as_plain_data() -> None:
    assert Variant("x", "X", None).as_dict() == {"reward": "true"}
    plain = Variant("x", "X", Comparisons(labels=9, predictor=Predictor(hidden=(3, 4)))).as_dict()
    assert (plain["labels"], plain["hidden"], plain["error"], plain["segment"]) == (9, "3,4", 0.1, 25)
    assert json.loads(json.dumps(plain)) == plain
