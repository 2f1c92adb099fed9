import json

import pytest
from conftest import make_run, records
from reading import Page

from burnish.report import theme
from burnish.report.training import comparison, curve_figures, training_page
from burnish.run import UserError


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory) -> Page:
    folder = tmp_path_factory.mktemp("runs")
    a, b = make_run(folder / "low"), make_run(folder / "high", seed=2, beta=0.3)
    return Page(training_page([a, b], folder / "report.html"))


def test_the_page_stands_alone(two_runs):
    assert two_runs.loads == []
    assert not any("url(" in style or "@import" in style for style in two_runs.styles)


def test_every_logged_metric_has_a_figure_with_both_runs(two_runs):
    specs = json.loads(two_runs.scripts[0])
    assert set(specs) == {
        "curve-loss",
        "curve-rewards-accuracies",
        "curve-rewards-margins",
        "curve-rewards-chosen",
        "curve-rewards-rejected",
        "curve-grad-norm",
        "curve-learning-rate",
    }
    for spec in specs.values():
        assert {row["name"] for rows in spec["datasets"].values() for row in rows} == {"low", "high"}
    places = [attrs["data-figure"] for _, attrs in two_runs.tags if "data-figure" in attrs]
    assert places == list(specs)


def test_settings_that_differ_are_marked(two_runs):
    assert "dpo.beta ≠ 0.1 0.3" in two_runs.text
    assert "algorithm dpo dpo" in two_runs.text
    assert sum(attrs.get("class") == "differs" for _, attrs in two_runs.tags) == 3  # beta, seed, the recorded seed


def test_evaluation_versions_and_samples_are_shown(two_runs):
    assert "accuracy 0.74 (0.71 to 0.77)" in two_runs.text
    assert "versions.torch 2.13.0" in two_runs.text
    assert "the film is <b>good</b>" in two_runs.text  # as text, not as an element
    assert not any(tag == "b" and not attrs for tag, attrs in two_runs.tags if tag == "b" and "good" in str(attrs))
    assert "<b>good" not in two_runs.source


def test_one_run_with_metrics_alone_and_a_line_cut_short(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n{"step": 3, "l')
    page = Page(training_page([tmp_path], tmp_path / "report.html"))
    assert "2 steps" in page.text
    assert "Settings" not in page.text
    assert list(json.loads(page.scripts[0])) == ["curve-loss"]


def test_a_run_without_a_step_says_so(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("")
    page = Page(training_page([tmp_path], tmp_path / "report.html"))
    assert "No step has been logged yet." in page.text
    assert page.scripts == []


def test_a_missing_run_is_named_and_nothing_written(tmp_path):
    with pytest.raises(UserError, match=r"There is no run folder .*gone"):
        training_page([tmp_path / "gone"], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_comparison_keeps_order_and_marks_what_is_missing():
    rows = comparison([{"a": 1, "b": 2}, {"b": 2, "c": 3}])
    assert [(row["key"], row["values"], row["differs"]) for row in rows] == [
        ("a", [1, None], True),
        ("b", [2, 2], False),
        ("c", [None, 3], True),
    ]
    assert not any(row["differs"] for row in comparison([{"a": 1}, {"a": 2}], mark=False))


def test_chosen_metrics_only():
    lines = {"SFT": records(30, 0)}
    found = curve_figures(lines, theme.series_colours(["SFT"]), keys=["loss"], place="sft", heading="SFT: ")
    assert [one.key for one in found] == ["sft-loss"]
    assert found[0].spec["title"] == "SFT: Loss"
    assert "SFT ends at" in found[0].description
