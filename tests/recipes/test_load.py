"""`burnish.load` of control; of language models see test_functions.py."""

from pathlib import Path

import numpy as np
import pytest
from trained_policies import write_run

import burnish
from burnish.experience.control.trained import TrainedPolicy


def test_a_policy_of_control_is_loaded_by_name(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", "any", ppo={0: 1, 4: 0}, trpo={0: 0})
    policy = burnish.load(run, algorithm="ppo", number=4)
    assert isinstance(policy, TrainedPolicy)
    assert (policy.algorithm, policy.number, policy.act(np.zeros(1))) == ("ppo", 4, 0)
    with pytest.raises(burnish.UserError, match=r"^burnish.load has no option device for control: it has algorithm"):
        burnish.load(run, device="cpu")


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(burnish.UserError, match="is not a run: give the folder"):
        burnish.load(tmp_path)
