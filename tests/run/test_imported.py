"""Objects named as `module:name`; tests/rewards/test_function.py and tests/environments/test_load.py have more."""

import math
from pathlib import Path

import pytest

from burnish.run import UserError, imported


def test_an_object_of_an_installed_module() -> None:
    assert imported("math:sqrt", "--it") is math.sqrt


def test_a_module_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "named_here.py").write_text("class A:\n    b = 3\n")
    monkeypatch.chdir(tmp_path)
    assert imported("named_here:A.b", "--it") == 3


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a b:c", "--it a b:c does not have the form module:thing: write it like my_module:my_thing"),
        ("absent_module:c", "there is no module absent_module"),
        ("math:absent", "name a thing in that file"),
    ],
)
def test_what_is_not_there_is_named(text: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        imported(text, "--it", "thing")
