import json
from pathlib import Path

import pytest

from burnish.report import runs
from burnish.run import UserError, write_checksums

from .conftest import make_run


def test_a_run_folder_is_read(run_folder):
    run = runs.read_run(run_folder)
    assert run.name == "dpo"
    assert [line["step"] for line in run.metrics] == list(range(1, 201))
    assert run.config["dpo"]["beta"] == 0.1
    assert run.environment["versions"] == {"torch": "2.13.0"}
    assert run.samples[0]["prompt"] == "the film"
    assert run.evaluation["accuracy"]["n"] == 702


def test_a_killed_writer_leaves_a_readable_run(run_folder):
    with (run_folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 201, "lo')
    assert len(runs.read_run(run_folder).metrics) == 200


def test_only_metrics_are_needed(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
    run = runs.read_run(tmp_path)
    assert (run.config, run.environment, run.samples, run.evaluation) == ({}, {}, [], {})


def test_missing_folders_are_named(tmp_path):
    with pytest.raises(UserError, match=r"There is no run folder .*nowhere"):
        runs.read_runs([tmp_path / "nowhere"])
    with pytest.raises(UserError, match=r"has no metrics\.jsonl"):
        runs.read_runs([tmp_path])
    with pytest.raises(UserError, match="at least one run folder"):
        runs.read_runs([])


def test_a_folder_of_runs_is_no_run(tmp_path):
    with pytest.raises(UserError, match="give the --out folder of a run"):
        runs.read_run(tmp_path)
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.jsonl").touch()
    with pytest.raises(UserError, match=f"give the runs in it, such as {tmp_path}/a {tmp_path}/b"):
        runs.read_run(tmp_path)


def test_broken_lines_are_named(run_folder):
    with (run_folder / "metrics.jsonl").open("a") as file:
        file.write("not json\n{}\n")
    with pytest.raises(UserError, match=r"metrics\.jsonl, line 201"):
        runs.read_run(run_folder)


def test_metrics_of_a_finished_run_that_were_cut_are_refused(run_folder):
    write_checksums(run_folder, {})
    runs.read_run(run_folder)
    metrics = run_folder / "metrics.jsonl"
    metrics.write_text("".join(metrics.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(UserError, match=r"metrics\.jsonl is damaged"):
        runs.read_run(run_folder)


def test_names_are_as_short_as_they_can_be():
    assert runs.short_names([Path("/r/a"), Path("/r/b")]) == ["a", "b"]
    assert runs.short_names([Path("/r/a/x"), Path("/r/b/x")]) == ["a/x", "b/x"]
    assert runs.short_names([Path(".")]) == ["."]
    assert runs.short_names([Path("."), Path("a")]) == [".", "a"]
    assert runs.short_names([Path("/r/a"), Path("/r/a")]) == ["a", "a (2)"]


def test_series_of_two_runs_and_their_held_out_values():
    found = {
        "a": [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0, "eval_loss": 1.5}],
        "b": [{"step": 1, "loss": None}, {"step": 2, "loss": float("nan")}, {"step": 3, "loss": 4}],
    }
    table = runs.series(found, "loss")
    assert table[["name", "step", "value", "kind"]].to_numpy().tolist() == [
        ["a", 1, 2.0, "training"],
        ["a", 2, 1.0, "training"],
        ["a", 2, 1.5, "held-out"],
        ["b", 3, 4.0, "training"],
    ]
    assert runs.series(found, "absent").empty


def test_the_running_mean_is_centred():
    """25 values get a window of 3: the mean of each value and its neighbours; two at the ends."""
    squares = [{"step": i, "loss": float(i * i)} for i in range(25)]
    smooth = runs.series({"a": squares}, "loss").smooth.tolist()
    assert smooth[0] == 0.5
    assert smooth[5] == pytest.approx((16 + 25 + 36) / 3)
    assert smooth[24] == (23 * 23 + 24 * 24) / 2
    assert runs.series({"a": squares}, "loss", smooth=False).smooth.tolist() == [float(i * i) for i in range(25)]


def test_long_series_are_thinned_and_repetitions_stay_apart():
    records = [{"step": i, "loss": 1.0, "run": seed} for seed in (0, 1) for i in range(1, 1_001)]
    table = runs.series({"DPO": records}, "loss")
    assert table.run.unique().tolist() == ["DPO 0", "DPO 1"]
    assert table.groupby("run").step.count().tolist() == [334, 334]  # every third of 1,000


def test_two_folders_of_one_name(tmp_path):
    a, b = make_run(tmp_path / "a" / "dpo"), make_run(tmp_path / "b" / "dpo", seed=2)
    assert [run.name for run in runs.read_runs([a, b])] == ["a/dpo", "b/dpo"]
    assert json.loads((b / "environment.json").read_text())["seed"] == 2


def test_a_step_that_is_no_number_is_named(run_folder):
    (run_folder / "metrics.jsonl").write_text('{"step": 1}\n{"step": "two"}\n')
    with pytest.raises(UserError, match=r"metrics\.jsonl has a record of step 'two', which is not a number"):
        runs.read_run(run_folder)


def test_what_is_not_as_written_is_named():
    sentence = r"^x\.json is not as Burnish wrote it \(KeyError: 'mean'\): restore it\.$"
    with pytest.raises(UserError, match=sentence), runs.as_written("x.json"):
        {}["mean"]


def test_a_number_too_large_for_a_float_is_left_out():
    assert list(runs.series({"a": [{"step": 1, "x": 10**400}, {"step": 2, "x": 1}]}, "x").value) == [1.0]
