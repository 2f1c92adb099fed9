"""Self-contained HTML pages: the figures' JavaScript library is inlined once, everything else is text and CSS.

A page loads nothing (its Content-Security-Policy forbids it) and is readable without scripts (figures are then static
SVG), on a phone, in dark mode and in print.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from burnish.report import theme, wording
from burnish.report.figures import Chart, to_spec, vega_lite_version
from burnish.run import make_folder, write_atomically


@dataclass(frozen=True)
class Figure:
    """A chart on a page: its id, its Vega-Lite specification and its caption."""

    key: str
    spec: dict[str, Any]
    caption: str = ""

    @property
    def height(self) -> int:
        """The height in pixels that the page reserves for the chart: plot, axis and titles."""
        return int(self.spec["height"]) + 50

    @property
    def description(self) -> str:
        """The text for screen readers."""
        return str(self.spec.get("description", ""))

    def drawing(self) -> Markup:
        """The chart as static SVG in the page's colours, for readers without scripts."""
        static = [layer for layer in self.spec["layer"] if "condition" not in layer["encoding"].get("opacity", {})]
        spec = {key: value for key, value in self.spec.items() if key != "params"} | {"layer": static, "width": 640}
        return Markup(vl_convert.vegalite_to_svg(spec, vl_version=vega_lite_version()))


def figure(key: str, chart: Chart, caption: str = "") -> Figure:
    """Make a figure for a page from a chart."""
    return Figure(key, to_spec(chart), caption)


def write_page(template: str, out: Path, figures: list[Figure], **values: Any) -> Path:
    """Render a template of this package to `out`, atomically; returns `out`."""
    by_key = {one.key: one for one in figures}
    specs = {key: one.spec for key, one in by_key.items()}
    library = Markup(script_library()) if figures else ""
    html = render(template, figures=by_key, specs=_json_for_script(specs), library=library, **values)
    make_folder(out.parent)
    write_atomically(out, html)
    return out


def render(template: str, **values: Any) -> str:
    """A template of this package as HTML, in the colours of all pages."""
    return _environment().get_template(template).render(colours=Markup(theme.style_sheet()), **values)


@cache
def script_library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, in the Vega-Lite version of the charts."""
    library = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=vega_lite_version())
    if "</script" in library.lower() or "<!--" in library:
        raise RuntimeError("The figures' script library cannot be inlined: it contains an end tag or a comment.")
    return library


def _json_for_script(data: Any) -> Markup:
    """JSON that is safe inside a script element, which only `<` could end."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    return Markup(text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("burnish.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": wording.number,
        "percent": wording.percent,
        "range": wording.range_of,
        "duration": wording.duration,
        "value": wording.value,
    }
    return environment
