import math

import pytest

from burnish.report import wording


def test_numbers_have_a_true_minus_and_no_minus_zero():
    assert wording.number(-0.456) == "−0.46"
    assert wording.number(0.456, signed=True) == "+0.46"
    assert wording.number(-0.001, signed=True) == "0.00"
    assert wording.number(None) == wording.number(math.nan) == "–"


def test_shares_and_ranges():
    assert wording.percent(0.784) == "78 %"
    assert wording.percent(None) == "–"
    assert wording.range_of({"low": -0.5, "high": 1.25}, signed=True) == "−0.50 to +1.25"
    assert wording.range_of({"low": 0.709, "high": 0.773}, 1, shares=True) == "70.9 to 77.3 %"
    assert wording.range_of(None) == wording.range_of({"low": None, "high": 1}) == ""


def test_durations():
    assert [wording.duration(s) for s in (4.21, 59.0, 303, 7_800)] == ["4.2 s", "59.0 s", "5 min 3 s", "2 h 10 min"]


def test_values_of_any_kind():
    assert wording.value({"mean": 0.7412, "low": 0.7, "high": 0.78, "n": 9}) == "0.7412 (0.7 to 0.78)"
    assert wording.value({"mean": 0.7412, "low": None, "high": None}) == "0.7412"
    assert [wording.value(v) for v in (True, None, 3, -1e-5, ["a", 1], "x")] == ["yes", "–", "3", "−1e−05", "a, 1", "x"]


def test_flatten_keeps_intervals_whole():
    interval = {"mean": 1, "low": 0, "high": 2}
    assert wording.flatten({"a": {"b": {"c": 1}, "d": interval}, "e": 2}) == {"a.b.c": 1, "a.d": interval, "e": 2}


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.01, 0.9, "better"), (-0.9, -0.01, "worse"), (-0.1, 0.5, "undecided"), (0.0, 0.5, "undecided")],
)
def test_the_interval_decides_the_verdict(low, high, expected):
    assert wording.verdict({"mean": 0.3, "low": low, "high": high}) == expected


WIN = {"mean": 0.64, "low": 0.6, "high": 0.68}


def test_result_when_better():
    sentence = wording.result_sentence("DPO", "SFT", {"mean": 0.41, "low": 0.31, "high": 0.52}, WIN, 512)
    assert "DPO continues reviews more positively than SFT" in sentence
    assert "512 held-out prefixes" in sentence
    assert "0.41 points higher" in sentence
    assert "95 % interval +0.31 to +0.52" in sentence
    assert "64 %" in sentence


def test_result_when_worse():
    sentence = wording.result_sentence("DPO", "SFT", {"mean": -0.41, "low": -0.52, "high": -0.31}, None, 0)
    assert "less positively" in sentence
    assert "0.41 points lower" in sentence
    assert "−0.52 to −0.31" in sentence


def test_result_when_not_distinguishable():
    sentence = wording.result_sentence("DPO", "SFT", {"mean": 0.03, "low": -0.06, "high": 0.12}, WIN, 256)
    assert "cannot be told apart" in sentence
    assert "−0.06 to +0.12 includes 0" in sentence
    assert not any(claim in sentence for claim in ("more positive", "higher", "64 %"))


def test_lists_in_words():
    assert wording.listed(["a"]) == "a"
    assert wording.listed(["a", "b"]) == "a and b"
    assert wording.listed(["a", "b", "c"]) == "a, b and c"


UP, FLAT, DOWN = ({"mean": m, "low": m - 0.1, "high": m + 0.1} for m in (0.5, 0.05, -0.5))


def test_results_of_several_models():
    sentence = wording.results_sentences({"DPO": UP, "PPO": FLAT, "DPO on samples": UP}, "SFT", 512)
    assert sentence.startswith(
        "On the 512 held-out prefixes DPO (+0.50, +0.40 to +0.60) and DPO on samples (+0.50, +0.40 to +0.60) continue "
        "reviews more positively than SFT; PPO (+0.05, −0.05 to +0.15) cannot be told apart from SFT. "
    )
    worse = wording.results_sentences({"DPO": DOWN, "PPO": UP}, "SFT", 0)
    assert "PPO (+0.50, +0.40 to +0.60) continues reviews more positively than SFT; DPO (−0.50, −0.60" in worse
    assert "continues reviews less positively than SFT" in worse
    assert "cannot be told apart" not in worse


def test_claims_without_a_method_are_left_out():
    assert wording.claims({"better": [], "worse": ["A"], "undecided": []}, "B") == "lower than B for A."
    found = {"undecided": ["C"], "better": ["A", "B"]}
    assert wording.claims(found, "D") == "higher than D for A and B; the interval contains zero for C."
