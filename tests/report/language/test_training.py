import json
from pathlib import Path

import pytest
from reading import Page

from burnish.report import theme
from burnish.report.language.training import by_method, comparison, curve_figures, sampled, spoken, training_page
from burnish.report.runs import read_run
from burnish.run import UserError

from ..conftest import make_run, records


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
    assert "algorithm dpo dpo.label_smoothing" in two_runs.text  # told once, then the next key
    assert two_runs.text.index("dpo.beta") < two_runs.text.index("Settings: shared by all runs")
    assert two_runs.text.index("Settings: shared by all runs") < two_runs.text.index("algorithm dpo")
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
    assert "No steps have been logged yet." in page.text
    assert page.scripts == []


def test_a_missing_run_is_named_and_nothing_written(tmp_path):
    with pytest.raises(UserError, match=r"There is no run folder .*gone"):
        training_page([tmp_path / "gone"], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_what_differs_comes_first_and_what_some_run_lacks_behind_it():
    rows = comparison([{"same": 1, "only": 2, "beta": 3}, {"beta": 4, "same": 1, "other": None}])
    assert [(row["key"], row["values"], row["differs"]) for row in rows] == [
        ("beta", [3, 4], True),
        ("only", [2, None], True),
        ("same", [1, 1], False),
        ("other", [None, None], False),
    ]
    unmarked = comparison([{"a": 1, "b": 1}, {"b": 2}], mark=False)
    assert [(row["key"], row["differs"]) for row in unmarked] == [("a", False), ("b", False)]


def test_chosen_metrics_only():
    lines = {"SFT": records(30, 0)}
    found = curve_figures(lines, theme.series_colours(["SFT"]), keys=["loss"], place="sft", heading="SFT: ")
    assert [one.key for one in found] == ["sft-loss"]
    assert found[0].spec["title"] == "SFT: Loss"
    assert "SFT ends at" in found[0].description


def ppo_records(updates: int = 8, rollout: int = 4) -> list[dict]:
    """What PPO logs: the objective with the first update of each rollout, the rest with every one."""
    lines = []
    for step in range(1, updates + 1):
        line = {"step": step, "loss": 0.1, "policy/clipfrac_avg": 0.2, "loss/value_avg": 1 / step}
        if step % rollout == 1:
            line |= {"objective/scores": float(step), "objective/kl": 0.1 * step, "objective/kl_coef": 0.05}
        lines.append(line)
    lines[-1] |= {"eval_loss": -7.0, "eval_objective/scores": 2.0, "eval_objective/rlhf_reward": 7.0}
    return lines


def rows_of(one) -> list[dict]:
    (rows,) = one.spec["datasets"].values()
    return rows


def test_ppo_curves_skip_the_updates_that_say_nothing():
    found = {one.key: one for one in curve_figures({"p": ppo_records()}, theme.series_colours(["p"]))}
    assert list(found) == [
        "curve-loss",
        "curve-objective-scores",
        "curve-objective-kl",
        "curve-objective-rlhf-reward",
        "curve-policy-clipfrac-avg",
        "curve-loss-value-avg",
    ]
    scores = [(row["step"], row["value"], row["kind"]) for row in rows_of(found["curve-objective-scores"])]
    assert scores == [(1, 1.0, "training"), (5, 5.0, "training"), (8, 2.0, "held-out")]
    assert len(rows_of(found["curve-loss-value-avg"])) == 8


def test_beta_has_a_figure_where_it_moves():
    lines = [line | {"objective/kl_coef": 0.1 * line["step"]} for line in ppo_records()]
    found = curve_figures({"p": lines}, theme.series_colours(["p"]), keys=["objective/kl_coef"])
    assert [one.spec["title"] for one in found] == ["KL coefficient β"]


def test_the_negative_objective_is_no_held_out_loss_of_ppo():
    lines = {"PPO": ppo_records(), "DPO": records(20, 0, dpo=True)}
    ppo, dpo = (curve_figures({n: lines[n]}, theme.series_colours([n]), keys=["loss"])[0] for n in lines)
    assert {row["kind"] for row in rows_of(ppo)} == {"training"}
    assert {row["kind"] for row in rows_of(dpo)} == {"training", "held-out"}


def test_losses_of_different_methods_share_no_axis():
    lines = {"a": records(9, 0), "b": records(9, 1), "c": ppo_records(), "d": records(9, 2, dpo=True)}
    methods = {"a": "SFT", "b": "SFT", "c": "PPO", "d": "DPO"}
    found = curve_figures(lines, theme.series_colours(list(lines)), keys=["loss", "learning_rate"], methods=methods)
    assert [(one.key, one.spec["title"], {row["name"] for row in rows_of(one)}) for one in found] == [
        ("curve-loss-sft", "Loss, SFT", {"a", "b"}),
        ("curve-loss-ppo", "Loss, PPO", {"c"}),
        ("curve-loss-dpo", "Loss, DPO", {"d"}),
        ("curve-learning-rate", "Learning rate", {"a", "b", "d"}),
    ]
    assert by_method(["a", "b"], {"a": "SFT", "b": "SFT"}) == {"": ["a", "b"]}
    assert by_method(["a", "b"], {}) == {"": ["a", "b"]}


def test_a_page_of_runs_takes_their_methods_from_their_settings(tmp_path: Path):
    """One from outside Burnish is written by its import path, of which a reader sees the class."""
    for name, method in (("one", "reward"), ("two", "sft"), ("three", "my_methods:Mine")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n')
        (tmp_path / name / "config.yaml").write_text(f"algorithm: {method}\n")
    page = Page(training_page([tmp_path / name for name in ("one", "two", "three")], tmp_path / "report.html"))
    titles = [spec["title"] for spec in json.loads(page.scripts[0]).values()]
    assert titles == ["Loss, reward model", "Loss, SFT", "Loss, Mine"]


def test_samples_of_training_and_of_evaluation_are_apart(run_folder: Path, tmp_path: Path):
    lines = [{"prompt": f"<i>p{i}", "response": " well", "gold": i / 10} for i in range(30)]
    (run_folder / "evaluation_samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = Page(training_page([run_folder], tmp_path / "report.html"))
    training, evaluation = (page.text.index(f"Samples {which}") for which in ("during training", "of the evaluation"))
    assert training < page.text.index("is <b>good</b>") < evaluation < page.text.index("<i>p0 well")
    run = read_run(run_folder)
    assert [line["prompt"] for line in sampled([run], "evaluation_samples.jsonl")["dpo"]] == [
        f"<i>p{i}" for i in range(20)
    ]
    assert len(sampled([run], "samples.jsonl")["dpo"]) == 1


def test_messages_become_text():
    assert spoken("a film") == "a film"
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Well?"}]
    assert spoken(messages) == "system: Be brief.\nuser: Well?\n"


def test_the_evaluations_warnings_are_shown(run_folder, tmp_path):
    path = run_folder / "evaluation.json"
    path.write_text(
        json.dumps(json.loads(path.read_text()) | {"warnings": ["the model may have collapsed: it stammers"]})
    )
    text = Page(training_page([run_folder], tmp_path / "page.html")).text
    assert "Warning the model may have collapsed: it stammers." in text
    both = Page(training_page([run_folder, run_folder], tmp_path / "both.html")).text
    assert "Warning for dpo: the model may have collapsed: it stammers." in both
