"""Sentences of invented studies: each says what its intervals support, and no more."""

from burnish.report.language.checked_words import result_sentences, sides, title_of

from .test_checked import study


def test_the_title_counts_methods_whose_interval_is_above_zero() -> None:
    assert title_of(study()) == ("Checked answers, mean of the 2 tasks: of 3 methods 1 raise pass@1 and 0 pass@64")
    assert title_of(study(("letter_count",))).startswith("Checked answers, letter count: ")


def test_methods_are_sorted_by_what_their_interval_says() -> None:
    assert sides(study(), "reverse", "pass_1_gain") == {
        "better": ["GRPO (+30.0, +25.0 to +35.0)"],
        "worse": ["More SFT (−10.0, −15.0 to −5.0)"],
        "undecided": ["PPO (+1.0, −4.0 to +6.0)"],
    }


def test_the_sentences() -> None:
    said = result_sentences(study())
    assert said[0].startswith("Mean of the 2 tasks, 5 seeds: before, 30.0 % of answers are right (pass@1), and 90.0 % ")
    assert said[1] == (
        "pass@1: higher than before for GRPO (+30.0, +25.0 to +35.0); lower than before for More SFT "
        "(−10.0, −15.0 to −5.0); the interval contains zero for PPO (+1.0, −4.0 to +6.0)."
    )
    assert said[2].startswith("pass@64: lower than before for More SFT (−20.0, ")
    assert said[3].startswith("Compared with GRPO, pass@1: lower than GRPO for PPO (−10.0, −12.0 to −8.0) and More SFT")
    assert not [one for one in said if "narrow" in one]


def test_few_seeds_are_said_to_be_few() -> None:
    assert result_sentences(study(("sort",), seeds={"sort": 2}))[-1] == (
        "The intervals are of 2 seeds: they are rather too narrow."
    )
    assert "over prompts alone" in result_sentences(study(("sort",), seeds={"sort": 1}))[-1]
