import json
from pathlib import Path

from burnish.recipes.control.classic import groups_of
from burnish.recipes.control.facts import advice, facts_of
from burnish.recipes.control.settings import experiment


def test_facts_are_of_the_groups_that_have_ended_without_runs_that_failed(tmp_path: Path) -> None:
    asked = {"algorithms": {"reinforce": {}, "ppo": {"copies": 4, "rollout": 8}}, "runs": 3, "group": 2}
    plan = experiment(asked)
    told = {
        "reinforce-00-01": {"seconds": 1.5, "failed": {"0": "x"}, "updates": {"0": 9, "1": 7}, "caution": None},
        "reinforce-02-02": {"seconds": 2.25, "failed": {}, "updates": {"2": 8}, "caution": "too large"},
        "ppo-00-01": {"seconds": 1.0, "failed": {}, "updates": {"0": 0, "1": 0}, "caution": "too small"},
    }
    for name, one in told.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "group.json").write_text(json.dumps(one))
        (tmp_path / name / "returns.parquet").touch()
    facts = facts_of(groups_of(plan), tmp_path)
    assert facts.seconds == {"reinforce": 3.75, "ppo": 1.0}
    assert {name: sorted(counts) for name, counts in facts.updates.items()} == {"reinforce": [7, 8], "ppo": [0, 0]}
    assert facts.never() == ["ppo"]
    found = facts.added_to({"algorithms": {"reinforce": {}, "ppo": {}}}, "Maze-v0")
    assert found["failed"] == {"REINFORCE": 1}
    assert len(found["warnings"]) == 2
    assert found["warnings"][0].startswith("the returns of PPO are those of an untrained policy")
    assert "4 × 8 = 32 steps at a time" in advice(plan, "ppo")
    assert "whole episodes" in advice(plan, "reinforce")
    plan = experiment({"algorithms": {"dqn": {"learning_starts": 5000}}})
    assert "learning_starts = 5,000 steps" in advice(plan, "dqn")
