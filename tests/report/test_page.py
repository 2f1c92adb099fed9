import json

from reading import Page

from burnish.report import page, theme
from burnish.report.language.curves import curves
from burnish.report.runs import series


def one_figure() -> page.Figure:
    table = series({"DPO </script><b>": [{"step": i, "loss": 1 / i} for i in range(1, 40)]}, "loss")
    colours = theme.series_colours(["DPO </script><b>"])
    return page.figure("curve", curves(table, colours, "Loss", "Loss over steps."))


def write(tmp_path, figures) -> Page:
    out = page.write_page(
        "runs.html.j2",
        tmp_path / "new" / "page.html",
        figures,
        title="A <page>",
        names=["DPO"],
        swatches={"DPO": "#000"},
        lengths={"DPO": 1},
        judged=[],
        said=[],
        curves=[],
        tables=[],
        texts=[],
        samples=[],
        warnings={},
    )
    return Page(out)


def test_figures_data_survive_the_script_element(tmp_path):
    found = write(tmp_path, [one_figure()])
    specs = json.loads(found.scripts[0])
    names = {row["name"] for rows in specs["curve"]["datasets"].values() for row in rows}
    assert names == {"DPO </script><b>"}


def test_the_library_comes_once_and_only_with_figures(tmp_path):
    library = page.script_library()
    two = [one_figure(), page.Figure("other", one_figure().spec)]
    assert write(tmp_path, two).source.count(library) == 1
    assert len(write(tmp_path, []).source) < 20_000


def test_the_library_is_a_script_that_offers_vega_embed(tmp_path):
    assert len(page.script_library()) > 500_000
    assert "window.vegaEmbed" in page.script_library()[-5_000:]


def test_a_page_is_whole_or_absent(tmp_path):
    write(tmp_path, [])
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["page.html"]


def test_drawings_leave_out_what_only_scripts_use():
    drawing = one_figure().drawing()
    assert drawing.startswith("<svg")
    assert "DPO &lt;/script&gt;&lt;b&gt;" in drawing or "<b>" not in drawing
    assert drawing.count("<path") < 120  # 39 points once, not once more for pointing at


def test_colours_of_drawings_follow_the_page():
    assert "var(--series-1, " in one_figure().drawing()
