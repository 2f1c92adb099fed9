"""What is said of gaps, and how long lists are cut."""

from burnish.report.language.gaps import never_computed, shortened


def test_a_long_list_says_how_many_more() -> None:
    assert shortened(["a, b"], 2) == "a, b"
    assert shortened(["a", "b"], 2) == "a; b"
    assert shortened(list("abcde"), 2) == "a; b … and 3 more"


def test_what_is_never_computed_has_a_reason() -> None:
    names = [f"seed {i}, PPO" for i in range(7)]
    assert never_computed([]) == []
    assert never_computed(names) == [
        f"Not computed, because their reward model diverged: {'; '.join(names[:6])} … and 1 more."
    ]
