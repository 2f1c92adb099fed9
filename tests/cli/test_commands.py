"""The commands: found by name, listed without being imported, and what each imports."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from burnish.algorithms.table import LANGUAGE
from burnish.cli.commands import METHODS, OTHERS, Commands
from burnish.cli.main import cli

EVERY = [*METHODS, *OTHERS]
MODELS = {"transformers", "tokenizers", "datasets", "peft"}
TABLES = {"pandas", "pyarrow", "scipy", "sklearn"}
HEAVY = {"torch", "numpy", "yaml", "jaxtyping", "gymnasium", "altair", "rich"} | MODELS | TABLES


def context() -> click.Context:
    return click.Context(cli)


def loaded(*stages: list[str], folder: Path) -> list[set[str]]:
    """Which of the modules `HEAVY` a new process has imported after each of these lists of runs of commands."""
    told = f"import sys\nprint('\\nLOADED', *({HEAVY!r} & set(sys.modules)))"
    code = [line for runs in stages for line in (*runs, told)]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(code)], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [set(line.split()[1:]) for line in done.stdout.splitlines() if line.startswith("LOADED")]


def run(*arguments: object, status: int = 0) -> str:
    """Code that runs `burnish …`, which has to end with `status`."""
    return (
        f"from burnish.cli import main\ntry:\n    main({[str(argument) for argument in arguments]!r})\n"
        f"except SystemExit as end:\n    assert end.code == {status}, end.code"
    )


# The list ----------------------------------------------------------------------------------------------------------


def test_every_method_of_the_table_is_a_command_and_no_name_is_there_twice() -> None:
    assert list(METHODS) == list(LANGUAGE)
    assert cli.list_commands(context()) == EVERY
    assert len(EVERY) == len(set(EVERY))
    assert isinstance(cli, Commands)


@pytest.mark.parametrize("name", EVERY)
def test_a_command_of_the_list_can_be_loaded_and_is_told_in_one_line(name: str) -> None:
    found = cli.get_command(context(), name)
    assert found is not None
    assert found.name == name
    summary = (METHODS | OTHERS)[name].summary
    assert summary == summary.strip() != ""
    assert "\n" not in summary
    assert len(summary) <= 80
    assert found.help


def test_help_lists_every_command_on_one_line(burnish: Any) -> None:
    """In a terminal of the usual width none is cut or wrapped."""
    status, out, err = burnish("--help")
    assert (status, err) == (0, "")
    lines = {" ".join(line.split()) for line in out.splitlines()}
    for name, place in (METHODS | OTHERS).items():
        assert f"{name} {place.summary}" in lines
    assert out.index("Methods:") < out.index("sft ") < out.index("Commands:") < out.index("classic ")


@pytest.mark.parametrize("name", [name for name in EVERY if "_" in name])
def test_names_may_be_written_with_hyphens(name: str, burnish: Any) -> None:
    assert cli.get_command(context(), name.replace("_", "-")).name == name  # type: ignore[union-attr]
    status, out, _ = burnish(name.replace("_", "-"), "--help")
    assert (status, out.replace(name.replace("_", "-"), name)) == burnish(name, "--help")[:2]


@pytest.mark.parametrize("name", ["sfd", "", "data show", "method"])
def test_an_unknown_command_is_refused(name: str, burnish: Any) -> None:
    assert cli.get_command(context(), name) is None
    status, out, err = burnish(name)
    assert (status, out) == (2, "")
    assert f"No such command {name!r}" in err


def test_the_version_is_the_packages(burnish: Any) -> None:
    import burnish as package

    status, out, _ = burnish("--version")
    assert (status, out) == (0, f"burnish, version {package.__version__}\n")


def test_python_m_burnish_is_the_command(tmp_path: Path, burnish: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "burnish", "--version"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, burnish("--version")[1], "")


# What is imported --------------------------------------------------------------------------------------------------


def test_help_imports_no_more_than_options(tmp_path: Path) -> None:
    """Of the list of commands nothing; of commands that train nothing no PyTorch; of a method the names of devices and
    dtypes. One process, in which each may import more than those before."""
    names = [name for name in OTHERS if name != "classic"]
    assert "classic" in OTHERS
    lists = [run("--version"), run("--help"), run("sfd", status=2), run(status=2)]
    others = [run(name, "--help") for name in names] + [run(name, "--nope", status=2) for name in names]
    methods = [run("dpo", "--help"), run("dpo", "--nope", status=2), run("ppo", "--help"), run("online-dpo", "--help")]
    listed, told, of_methods = loaded(lists, others, [*methods, run("classic", "--help")], folder=tmp_path)
    assert listed == set()
    assert told <= {"yaml"}
    assert of_methods <= {"torch", "numpy", "yaml", "jaxtyping"}


def test_a_run_on_text_imports_no_environments_and_draws_nothing(tmp_path: Path) -> None:
    """With the built-in model; the built-in data, which are large, are only imported, and its judge is not."""
    (tmp_path / "texts.jsonl").write_text('{"text": "a good film"}\n{"text": "a bad film"}\n')
    sizes = ["--steps", 1, "--batch-size", 2, "--max-length", 32]
    sft = run("sft", "--data", "texts.jsonl", *sizes, "--out", "run", "--quiet")
    (found,) = loaded(["import burnish.data.builtin", sft], folder=tmp_path)
    assert found & {"gymnasium", "altair", "sklearn"} == set()
    assert {"torch", "transformers"} <= found


def test_pages_and_runs_in_an_environment_import_no_language_models(tmp_path: Path) -> None:
    """In one process, since the first page of a process takes a while; the first is drawn without environments."""
    (tmp_path / "text").mkdir()
    (tmp_path / "text/config.yaml").write_text("algorithm: sft\n")
    (tmp_path / "text/metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.5}\n')
    flags = ["--algorithms", "reinforce", "--runs", 1, "--episodes", 3, "--hidden", 4, "--out", "run", "--quiet"]
    page, control = loaded([run("report", "text")], [run("classic", *flags)], folder=tmp_path)
    assert page & (MODELS | {"gymnasium"}) == set()
    assert "altair" in page
    assert control & MODELS == set()
    assert {"torch", "gymnasium"} <= control
    assert (tmp_path / "text/report.html").exists()
    assert (tmp_path / "run/report.html").exists()


@pytest.mark.parametrize(
    ("name", "end"), [("rewrd", ": did you mean 'reward'?"), ("online-dop", ": did you mean 'online_dpo'?"), ("x", ".")]
)
def test_a_name_that_is_no_command_is_answered_with_the_nearest(name: str, end: str) -> None:
    with pytest.raises(click.UsageError) as refused:
        cli.resolve_command(context(), [name])
    assert refused.value.message == f"No such command '{name}'{end}"
