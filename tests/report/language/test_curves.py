import pytest

from burnish.report import figures, theme
from burnish.report.language.curves import curves
from burnish.report.runs import series

COLOURS = theme.series_colours(["a", "b"])


def spec_of(records, key="loss", number=".4~g"):
    return figures.to_spec(curves(series(records, key), COLOURS, "Loss", "Loss over steps.", number=number))


def marks(spec) -> list[str]:
    return [layer["mark"]["type"] for layer in spec["layer"]]


def test_short_runs_are_one_line_long_ones_dots_and_a_mean():
    short = [{"step": i, "loss": 1 / i} for i in range(1, 6)]
    noisy = [{"step": i, "loss": (-1) ** i} for i in range(1, 60)]
    assert marks(spec_of({"a": short})) == ["line", "point"]
    assert marks(spec_of({"a": noisy})) == ["point", "line", "point"]


def test_a_single_value_is_seen():
    """A line through one place has no length: a run with one value has a point, whatever the others have."""
    one, two = [{"step": 4, "loss": 2.0}], [{"step": 1, "loss": 3.0}, {"step": 9, "loss": 2.0}]
    assert spec_of({"a": one, "b": two})["layer"][0]["mark"]["point"]["filled"] is True
    assert spec_of({"b": two})["layer"][0]["mark"]["point"] is False


def test_held_out_values_are_dashed():
    records = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0, "eval_loss": 1.5}]
    spec = spec_of({"a": records})
    assert [layer["mark"].get("strokeDash") for layer in spec["layer"]] == [None, [5, 3], None, None]
    assert marks(spec_of({"a": [{"step": 1, "eval_loss": 1.5}]})) == ["line", "point", "point"]


def test_all_rows_stand_in_one_data_set():
    records = [{"step": i, "loss": 1 / i, "eval_loss": 2 / i} for i in range(1, 41)]
    (rows,) = spec_of({"a": records, "b": records})["datasets"].values()
    assert len(rows) == 160


def test_pointing_shows_text_columns():
    """The tooltip reads the row inside the cell of the nearest point, and the row itself outside one."""
    spec = spec_of({"a": [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}]})
    tooltip = spec["layer"][-1]["mark"]["tooltip"]["expr"]
    assert all(f"(datum.datum || datum).{column}" in tooltip for column in ("run", "kind", "step", "value", "smooth"))


@pytest.mark.parametrize(
    ("value", "number", "label"), [(2e-5, ".2~e", "2e-5"), (0.5, ".0%", "40%"), (3.0, ".4~g", "4")]
)
def test_axis_labels_read_well(tmp_path, value, number, label):
    table = series({"a": [{"step": i, "loss": value * i / 4} for i in range(9)]}, "loss")
    _, svg = figures.save_figure(curves(table, COLOURS, "Metric", "A metric.", number=number), tmp_path / "curve")
    assert f">{label}</text>" in svg.read_text()
    assert ">optimizer step</text>" in svg.read_text()
