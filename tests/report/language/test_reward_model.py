import json
from pathlib import Path

import pytest
from reading import Page

from burnish.report import figures, theme
from burnish.report.language import reward_model
from burnish.report.language.training import training_page

from ..conftest import interval

COLOURS = theme.series_colours(["rm", "other"])


def bins(places: list[float], means: list[float]) -> list[dict]:
    return [
        {"low": x - 0.02, "high": x + 0.02, "mean": x, "count": 65, "agreement": interval(mean, 0.08)}
        for x, mean in zip(places, means, strict=True)
    ]


def evaluation(**changes) -> dict:
    """An invented reward model's evaluation, as `burnish evaluate` writes it."""
    return {
        "run": "runs/rm",
        "data": "builtin",
        "rows": 1650,
        "loss": 0.55,
        "accuracy": interval(0.724, 0.035),
        "ceiling": {**interval(0.909, 0.02), "n": 649},
        "calibration": {"error": 0.061, "chance": 0.043, "bins": bins([0.52, 0.7, 0.9], [0.5, 0.66, 0.83])},
        "accuracy_by_gap": bins([0.4, 1.6, 4.0], [0.55, 0.71, 0.9]),
        "length_correlation": interval(-0.12, 0.05),
        "score": {"chosen": interval(0.4, 0.1), "demonstrations": interval(-0.03, 0.04)},
    } | changes


def layers(chart) -> list[dict]:
    return figures.to_spec(chart)["layer"]


def rows(chart, layer: int) -> list[dict]:
    spec = figures.to_spec(chart)
    return spec["datasets"][spec["layer"][layer]["data"]["name"]]


def test_the_figures_of_one_reward_model():
    found = reward_model.reward_figures({"rm": evaluation(), "sft": {"loss": 4.1}}, COLOURS)
    assert [one.key for one in found] == ["reward-accuracy", "reward-calibration", "reward-gap"]
    assert "rm 0.061 (a calibrated model has 0.043 on as many pairs)" in found[1].caption
    assert "rm 72%, one rater 91%" in found[0].description
    assert found[2].description.endswith("farthest apart: rm 55%, 71%, 90%.")
    for one in found:
        assert one.drawing().startswith("<svg")


def test_what_was_not_found_is_not_drawn():
    bare = evaluation(accuracy_by_gap=[], length_correlation=None)
    del bare["ceiling"], bare["score"], bare["calibration"]["chance"]
    found = reward_model.reward_figures({"rm": bare}, COLOURS)
    assert [one.key for one in found] == ["reward-accuracy", "reward-calibration"]
    assert "one rater" not in found[0].description
    assert "Expected calibration error: rm 0.061. Bars" in found[1].caption
    assert len(reward_model.sentences("rm", bare)) == 1
    assert reward_model.reward_figures({"dpo": {"accuracy": interval(0.7, 0.1)}}, COLOURS) == []


def test_calibration_has_its_diagonal_and_a_point_a_bin_with_its_interval():
    chart = reward_model.calibration_chart({"rm": evaluation(), "other": evaluation()}, COLOURS)
    assert [(row["x"], row["mean"]) for row in rows(chart, 0)] == [(1.0, 1.0), (0.5, 0.5)]
    assert layers(chart)[0]["mark"]["strokeDash"]
    points = rows(chart, -1)
    assert [(row["name"], row["x"], row["mean"], row["pairs"]) for row in points[:3]] == [
        ("rm", 0.52, 0.5, 65),
        ("rm", 0.7, 0.66, 65),
        ("rm", 0.9, 0.83, 65),
    ]
    assert (points[0]["low"], points[0]["high"]) == pytest.approx((0.42, 0.58))
    assert points[0]["text"] == "50% (42% to 58%)"
    assert len(points) == 6


@pytest.mark.parametrize("ceiling", [None, interval(0.909, 0.02)])
def test_accuracy_by_gap_has_lines_for_guessing_and_for_people(ceiling):
    chart = reward_model.gap_chart({"rm": evaluation()}, COLOURS, ceiling)
    dashed = [i for i, layer in enumerate(layers(chart)) if layer["mark"].get("strokeDash")]
    assert [rows(chart, i)[0]["mean"] for i in dashed] == [0.5, 0.909][: 1 + bool(ceiling)]
    assert rows(chart, dashed[0])[0]["x"] == pytest.approx(4.4)  # a tenth beyond the last point


def test_people_by_gap_stand_beside_the_models():
    """Then there is no line for all pairs."""
    people = bins([0.5, 1.7, 4.1], [0.7, 0.9, 1.0])
    (_, _, found) = reward_model.reward_figures({"rm": evaluation(ceiling_by_gap=people)}, COLOURS)
    assert found.description.endswith("farthest apart: one rater 70%, 90%, 100%; rm 55%, 71%, 90%.")
    chart = reward_model.gap_chart({"rm": evaluation(ceiling_by_gap=people)}, COLOURS, interval(0.909, 0.02))
    assert len([layer for layer in layers(chart) if layer["mark"].get("strokeDash")]) == 1


def test_no_interval_leaves_its_plot():
    """The lowest end, 0.30, lies above the axis's own."""
    low = evaluation(calibration={"error": 0.2, "bins": bins([0.6], [0.38])}, accuracy_by_gap=bins([2.0], [0.38]))
    for chart in (
        reward_model.calibration_chart({"rm": low}, COLOURS),
        reward_model.gap_chart({"rm": low}, COLOURS, None),
    ):
        assert layers(chart)[-1]["encoding"]["y"]["scale"]["domain"][0] < 0.3


def test_the_numbers_in_words():
    accurate, human, length, level = reward_model.sentences("rm", evaluation())
    assert accurate == (
        "rm orders 72.4 % of 1,650 held-out pairs as labelled (95 % interval 68.9 to 75.9 %)."  # n of the pairs
    )
    assert human.startswith(
        "One rater agrees with the mean of the other raters on 90.9 % of pairs (88.9 to 92.9 %, n = 649)"
    )
    assert length == "The correlation of rm’s scores with length in tokens is −0.12 (−0.17 to −0.07)."
    assert level.startswith("Held-out demonstrations score −0.03 on average (−0.07 to +0.01)")


def test_the_section_stands_on_the_page_and_its_bins_in_no_table(tmp_path: Path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0, "accuracy": 0.5}\n')
    (tmp_path / "evaluation.json").write_text(json.dumps(evaluation()))
    page = Page(training_page([tmp_path], tmp_path / "report.html"))
    assert "Evaluation of the reward model" in page.text
    assert page.text.index("orders 72.4 %") < page.text.index("Curves")
    places = [attrs["data-figure"] for _, attrs in page.tags if "data-figure" in attrs]
    assert places == ["reward-accuracy", "reward-calibration", "reward-gap", "curve-loss", "curve-accuracy"]
    assert list(json.loads(page.scripts[0])) == places
    assert "calibration.error 0.061" in page.text
    assert "bins" not in page.text
    assert "accuracy_by_gap" not in page.text
