"""Several finished reward models, evaluated as one."""

from pathlib import Path
from typing import Any

import pytest
import tiny

from burnish import train
from burnish.algorithms.reward_model import RewardModel
from burnish.algorithms.sft import SFT
from burnish.config import Settings
from burnish.recipes.evaluate.ensemble import evaluate_named
from burnish.run import UserError

SMALL: dict[str, Any] = {"steps": 2, "batch_size": 4, "learning_rate": 0.01, "quiet": True, "threads": 1}
QUIET = Settings(quiet=True, threads=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two reward models of other seeds, and a policy, all on the same pairs and texts."""
    folder = tmp_path_factory.mktemp("ensemble")
    tiny.write_rows(folder / "pairs.jsonl", tiny.pair_rows(9))
    tiny.write_rows(folder / "rankings.jsonl", [{"prompt": "a", "responses": [" good", " is", " bad"]}] * 4)
    model = tiny.save_model(folder / "tiny")
    for name, seed in (("a", 0), ("b", 5)):
        train(RewardModel(), model=model, data=folder / "pairs.jsonl", out=folder / name, seed=seed, **SMALL)
    train(SFT(), model=model, data=tiny.text_rows(6), out=folder / "policy", **SMALL)
    return folder


def test_means_and_minima_of_the_members(folder: Path) -> None:
    """Mean margins of an ensemble's mean are the mean of its members'; least scores are below both members' means."""
    pairs = str(folder / "pairs.jsonl")
    alone = [evaluate_named(folder / name, pairs, None, QUIET) for name in ("a", "b")]
    text = f"{folder / 'a'},{folder / 'b'}"
    both = evaluate_named(Path(text), pairs, None, QUIET)
    for key in ("margin", "mean_reward"):
        assert both[key] == pytest.approx((alone[0][key] + alone[1][key]) / 2, abs=1e-5)
    assert both["members"] == {str(folder / name): one["accuracy"] for name, one in zip("ab", alone, strict=True)}
    assert both["rows"] == 9
    assert {"error", "chance", "bins"} <= both["calibration"].keys()
    assert "length_correlation" in both
    least = evaluate_named(Path(f"minimum:{text}"), pairs, None, QUIET)
    assert least["mean_reward"] < min(one["mean_reward"] for one in alone)
    careful = evaluate_named(Path(f"uncertainty:{text}"), pairs, None, QUIET)
    assert careful["mean_reward"] == pytest.approx(least["mean_reward"], abs=1e-5)  # of two: mean − half the distance


@pytest.mark.parametrize(
    ("names", "data", "said"),
    [
        (
            ("a", "nowhere"),
            "pairs",
            "nowhere has no finished model: give the folders of finished `burnish reward` runs",
        ),
        (("a", "policy"), "pairs", "policy is not a reward model, and an ensemble needs reward models"),
        (("a", "b"), "rankings", "a row ranks 3 responses, but this evaluation needs pairs"),
    ],
)
def test_what_cannot_be_evaluated_is_told(names: tuple[str, str], data: str, said: str, folder: Path) -> None:
    text = ",".join(str(folder / name) for name in names)
    with pytest.raises(UserError, match=said):
        evaluate_named(Path(text), str(folder / f"{data}.jsonl"), None, QUIET)


def test_a_damaged_member_is_refused(folder: Path) -> None:
    config = folder / "b" / "model" / "config.json"
    whole = config.read_text()
    config.write_text(whole + " ")
    try:
        with pytest.raises(UserError, match=r"b/model/config\.json is damaged"):
            evaluate_named(Path(f"{folder / 'a'},{folder / 'b'}"), str(folder / "pairs.jsonl"), None, QUIET)
    finally:
        config.write_text(whole)


def test_prefixes_are_nothing_to_an_ensemble(folder: Path) -> None:
    with pytest.raises(UserError, match="needs a language model"):
        evaluate_named(Path(f"{folder / 'a'},{folder / 'b'}"), None, 5, QUIET)
