"""What the pages of the studies share: results between two comments, and figures beside the page."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- results -->", "<!-- /results -->"


def put(run: Path, page: Path, results: Callable[[Mapping[str, Any]], str], figures: Mapping[str, str]) -> None:
    """Write the results of the study in `run` into the page, and copy its figures, by name, beside the page."""
    found = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    text = page.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    page.write_text(f"{before}{BEGIN}\n{results(found)}\n{END}{after}", encoding="utf-8")
    for name, copy in figures.items():
        shutil.copyfile(run / name, page.with_name(copy))
