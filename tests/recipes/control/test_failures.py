from types import SimpleNamespace
from typing import Any

from burnish.recipes.control.failures import told


def group(method: str, first: int = 0) -> Any:
    return SimpleNamespace(name=f"{method}-{first}", method=SimpleNamespace(name=method))


def failing(**reasons: str) -> dict[str, dict[str, str]]:
    return {"failed": {run.removeprefix("r"): reason for run, reason in reasons.items()}}


def test_failures_alike_are_told_once_with_the_first() -> None:
    """Episodes and other numbers may differ; the place in the code may not."""
    found = {
        "ppo-0": failing(
            r0="in episode 2, KeyError: 7 (a.py, line 4)", r1="in one of episodes 9 to 16, KeyError: 8 (a.py, line 4)"
        ),
        "trpo-0": failing(r3="after 12 updates, KeyError: -1e+30 (a.py, line 4)", r4="KeyError: 7 (a.py, line 5)"),
    }
    assert told([group("ppo"), group("trpo")], {}, found) == [
        "3 runs failed alike (2 of ppo, 1 of trpo), the first of them ppo, run 0: in episode 2, "
        "KeyError: 7 (a.py, line 4)",
        "trpo, run 4: KeyError: 7 (a.py, line 5)",
    ]


def test_groups_that_failed_alike_are_one_phrase() -> None:
    groups = [group("ppo", 0), group("ppo", 1), group("trpo")]
    failed = {"ppo-0": "it broke", "ppo-1": "it broke", "trpo-0": "it broke"}
    assert told(groups, failed, {}) == ["ppo, trpo: it broke"]


def test_of_many_kinds_the_others_are_counted() -> None:
    reasons = {f"r{i}": f"{'x' * (i + 1)} happened" for i in range(8)}
    phrases = told([group("ppo")], {}, {"ppo-0": failing(**reasons)})
    assert phrases[:2] == ["ppo, run 0: x happened", "ppo, run 1: xx happened"]
    assert phrases[5:] == ["and 3 more kinds of failure, which groups/*/group.json has"]
