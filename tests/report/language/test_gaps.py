"""What is said of gaps, and how long lists are cut."""

from burnish.report.language.gaps import never_computed, notes, shortened


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


def test_the_notes_of_a_figure_are_lines_that_fit_into_it() -> None:
    names = [f"seed {i}, PPO on the gold score, KL target {i}" for i in range(4)]
    lines = notes(names, [], [], ["seed 0, PPO, at step 7"], [])
    assert lines == [
        f"Missing so far: {names[0]}; {names[1]}; seed",
        f"2, PPO on the gold score, KL target 2; {names[3]}.",
        "Diverged, points until then are crosses: seed 0, PPO, at step 7.",
    ]
    assert max(map(len, lines)) <= 110
    assert notes([], [], [], [], []) == []
