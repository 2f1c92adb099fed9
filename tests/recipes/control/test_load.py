"""Which policy of a folder is loaded, by its training's returns and by name."""

from pathlib import Path

import pytest
from trained_policies import write_group, write_run

from burnish.recipes.control.load import is_control, load_policy, policy_folders, refuse_other
from burnish.run import UserError


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """PPO's runs 0 to 3 in two groups ended at 5, 9, 9 and 1; REINFORCE's run 0 at 7."""
    groups = tmp_path / "groups"
    write_group(groups / "ppo-02-03", "any", {2: 1, 3: 1}, returns={2: 9.0, 3: 1.0})
    write_group(groups / "ppo-00-01", "any", {0: 1, 1: 1}, returns={0: 5.0, 1: 9.0})
    write_group(groups / "reinforce-00-00", "any", {0: 0}, algorithm="reinforce", returns={0: 7.0})
    (tmp_path / "config.yaml").write_text("env: any\n")
    return tmp_path


def test_the_best_is_loaded_the_first_of_equals(run: Path) -> None:
    chosen = [("ppo", 1), ("reinforce", 0), ("ppo", 3), ("reinforce", 0)]
    asked = [{}, {"algorithm": "reinforce"}, {"number": 3}, {"number": 0}]
    for how, (algorithm, number) in zip(asked, chosen, strict=True):
        policy = load_policy(run, **how)  # type: ignore[arg-type]
        assert (policy.algorithm, policy.number) == (algorithm, number), how
    assert [saved.algorithm for saved in policy_folders(run).values()] == ["reinforce", "ppo", "ppo"]
    assert load_policy(run / "groups" / "ppo-02-03").number == 2


def test_what_is_not_there_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no policy of 'trpo': it has reinforce, ppo$"):
        load_policy(run, "trpo")
    with pytest.raises(UserError, match=r"has no policy of run 4: it has 0, 1, 2, 3$"):
        load_policy(run, number=4)
    empty = write_run(tmp_path / "empty", "any")
    with pytest.raises(UserError, match="has no saved policy: its runs are not finished"):
        load_policy(empty)


def test_a_run_of_control_is_known_by_its_files(run: Path, tmp_path: Path) -> None:
    assert is_control(run)
    assert is_control(run / "groups" / "ppo-02-03")
    other = tmp_path / "other"
    other.mkdir()
    assert not is_control(other)
    (other / "config.yaml").write_text("algorithm: sft\n")
    assert not is_control(other)
    assert not is_control(tmp_path / "none")


def test_options_of_the_other_kind_are_refused() -> None:
    refuse_other({"data": None}, control=True)
    with pytest.raises(UserError, match=r"^max-new-tokens only applies to language models"):
        refuse_other({"max_new_tokens": 3}, control=True)
    with pytest.raises(UserError, match=r"^episodes only applies to runs of `burnish classic`"):
        refuse_other({"episodes": 3}, control=False)
