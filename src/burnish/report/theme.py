"""The style of pages and figures: colours that follow the page's light or dark scheme, and Vega-Lite's configuration.

A chart refers to colours as CSS variables with the light value as fallback, `var(--series-1, #0072b2)`. On a page the
style sheet sets them, so dark mode and printing need no second drawing; `for_file` replaces the variables by the
fallbacks for standalone PNG and SVG files.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

# Series colours based on Okabe & Ito's palette (distinguishable with common colour-vision deficiencies), darkened or
# lightened until each has a contrast of at least 3 : 1 with its background. Series 0, grey, is for baselines.
LIGHT: dict[str, str] = {
    "page": "#ffffff",
    "ink": "#1d2127",
    "muted": "#565e69",
    "line": "#d9dde2",
    "series-0": "#737b86",
    "series-1": "#0072b2",
    "series-2": "#d55e00",
    "series-3": "#008562",
    "series-4": "#b0568c",
    "series-5": "#9a7100",
    "series-6": "#2a93cf",
    "series-7": "#6b4fa0",
}
DARK: dict[str, str] = {
    "page": "#14171b",
    "ink": "#eceef1",
    "muted": "#a6aeb9",
    "line": "#343a42",
    "series-0": "#98a1ad",
    "series-1": "#5ab4ec",
    "series-2": "#ff8a45",
    "series-3": "#2fc497",
    "series-4": "#e392c2",
    "series-5": "#e6c14a",
    "series-6": "#8fd0f5",
    "series-7": "#b39ddb",
}
SERIES = 8
_QUIET_NAMES = ("base", "reference", "random")
_VARIABLE = re.compile(r"var\(--[a-z0-9-]+, (#[0-9a-f]{6})\)")


def colour(name: str) -> str:
    """The CSS variable of a named colour, with its light value as fallback."""
    return f"var(--{name}, {LIGHT[name]})"


def series_colours(names: Sequence[str]) -> dict[str, str]:
    """Assign colours to names by position; baselines such as `base` are grey.

    Call it once with all names of a page and pass the result on, so that a name keeps its colour everywhere. After
    seven names, colours repeat.
    """
    loud = [name for name in names if name.lower() not in _QUIET_NAMES]
    return {
        name: colour(f"series-{1 + loud.index(name) % (SERIES - 1)}" if name in loud else "series-0") for name in names
    }


def for_file(spec: dict[str, Any]) -> dict[str, Any]:
    """The specification with the light colours written out and a white background, for a standalone file.

    It has more padding on the left, because the reader's font may be wider than the one that labels are measured with.
    """
    plain = json.loads(_VARIABLE.sub(r"\1", json.dumps(spec)))
    plain["background"] = LIGHT["page"]
    plain["padding"] = {"left": 12, "right": 8, "top": 6, "bottom": 2}
    return plain


def style_sheet() -> str:
    """The colours as CSS: light by default and in print, dark if the reader's system prefers it."""
    dark = "".join(f"--{name}:{value};" for name, value in DARK.items())
    light = "".join(f"--{name}:{value};" for name, value in LIGHT.items())
    return f":root{{color-scheme:light dark;{light}}}@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}"


def vega_config(font_size: int = 12) -> dict[str, Any]:
    """Vega-Lite's `config` for every chart: light axes, no frame, text in the page's font and colour."""
    ink, muted, line = colour("ink"), colour("muted"), colour("line")
    font = "system-ui, 'Segoe UI', 'Liberation Sans', Helvetica, Arial, sans-serif"
    return {
        "background": "transparent",
        "font": font,
        "view": {"stroke": None},
        "padding": {"left": 2, "right": 8, "top": 6, "bottom": 2},
        "axis": {
            "labelColor": muted,
            "titleColor": ink,
            "titleFontWeight": "normal",
            "labelFontSize": font_size,
            "titleFontSize": font_size + 1,
            "titlePadding": 10,
            "gridColor": line,
            "domainColor": line,
            "tickColor": line,
            "labelOverlap": "greedy",
            "labelSeparation": 6,
            "tickCount": 5,
        },
        "legend": {
            "labelColor": ink,
            "titleColor": ink,
            "labelFontSize": font_size,
            "titleFontSize": font_size,
            "symbolStrokeWidth": 3,
        },
        "title": {"color": ink, "fontSize": font_size + 1, "fontWeight": 600, "anchor": "start", "offset": 8},
        "text": {"color": ink, "fontSize": font_size + 1},
        "rule": {"color": muted},
        "line": {"strokeWidth": 2},
    }
