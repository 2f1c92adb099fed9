"""The example of docs/own_environment.md runs as it stands, and its environment keeps within 30 lines."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[1] / "docs" / "own_environment.md").read_text(encoding="utf-8")


def test_the_example_trains_and_plays(tmp_path: Path) -> None:
    """Fewer episodes than the page's: what is tested is that it runs, saves and plays. A film needs Pillow."""
    environment, program = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(environment.splitlines()) <= 30
    assert len(program.splitlines()) <= 10
    try:
        import PIL  # noqa: F401
    except ImportError:
        program = program.replace('burnish.play(run, out="catch.gif").interval', "policy")
    (tmp_path / "catch.py").write_text(environment)
    (tmp_path / "program.py").write_text(program.replace("episodes=1000", "episodes=40"))
    source = str(Path(__file__).parents[1] / "src")
    surroundings = os.environ | {"PYTHONPATH": source, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, env=surroundings, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.match(r"[01]\.0 ", done.stdout)
    assert (tmp_path / "runs" / "catch" / "groups" / "ppo-00-00" / "policy.json").exists()


@pytest.mark.parametrize("part", ["catch:Catch", "--env-option", "--wrapper", "--recorded", "--number", "--sampled"])
def test_the_page_names_what_there_is(part: str) -> None:
    assert part in PAGE
