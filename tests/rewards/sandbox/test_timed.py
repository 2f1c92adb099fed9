"""A process of checks: ended where one takes too long, started anew, and an error where it cannot start."""

import pytest

from burnish.rewards.sandbox.timed import Timed, timed
from burnish.run import UserError


def test_a_process_is_used_again_until_a_check_ends_it() -> None:
    checks = Timed("regex")
    easy = {"pattern": "a", "text": "ba", "whole": False}
    assert checks.score(easy) == 1
    process = checks._process
    assert checks.score(easy | {"text": "b"}) == 0
    assert checks._process is process
    assert checks.score({"pattern": "(a+)+$", "text": "a" * 40 + "b", "whole": False}, seconds=0.1) is None
    assert process is not None
    assert process.returncode is not None
    assert checks.score(easy) == 1
    checks.stop()
    checks.stop()
    assert timed("regex") is timed("regex")


def test_a_process_that_cannot_start_is_an_error_and_no_score() -> None:
    with pytest.raises(UserError, match="the process that checks nothing does not start"):
        Timed("nothing").score({})
