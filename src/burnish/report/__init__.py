"""Draw one or more runs in one self-contained HTML page: curves, settings, evaluations and samples side by side.

`burnish.report(runs, out=None)` is the command `burnish report`. This is also the package with all pages and figures,
which reads run folders only and needs no model.

Args:
    runs: A run folder, or several.
    out: The page to write; default: `report.html` in the first run's folder.

Returns:
    The path of the page.

Raises:
    UserError: Where a folder is no run, or the page cannot be written.

Example:
    >>> import burnish
    >>> print(burnish.report(["runs/sft", "runs/dpo"], out="runs/both.html"))
    runs/both.html
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType


class _Report(ModuleType):
    """The package, which can be called: `burnish.report` is both."""

    def __call__(self, runs: "str | Path | Iterable[str | Path]", out: "str | Path | None" = None) -> Path:
        from burnish.report.language.training import training_page
        from burnish.run import UserError

        try:
            folders = [Path(run) for run in ([runs] if isinstance(runs, str | Path) else runs)]
        except TypeError as error:
            raise UserError("runs must be the folder of a run, or a list of such folders") from error
        if not folders:
            raise UserError("burnish.report needs a run: give the folder of one")
        return training_page(folders, Path(out) if out is not None else folders[0] / "report.html")


sys.modules[__name__].__class__ = _Report
