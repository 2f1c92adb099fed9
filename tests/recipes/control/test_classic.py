"""The classical path as a whole: its files, the same bytes again, resuming, Ctrl-C, and what one failure costs."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import burnish
from burnish.experience.control.environments import cautions
from burnish.recipes.control.classic import classic, groups_of, returns_of
from burnish.recipes.control.group import RETURNS
from burnish.recipes.control.settings import experiment
from burnish.run import UserError, read_mapping
from recipes.classic_worlds import HERE, Loose

SMALL: dict[str, Any] = {"hidden": "8", "processes": 1, "quiet": True}
LOOSE = "in episode 3, RuntimeError: the third stair is loose"
STAIRS = SMALL | {"env": f"{HERE}:Stairs-v0", "episodes": 3}
OURS: dict[str, Any] = SMALL | {
    "env": "CartPole-v1",
    "algorithms": {"ppo": {"clip": 0.1, "copies": 2}, "reinforce": None},
    "runs": 2,
    "episodes": 5,
    "seed": 4,
    "group": 1,
}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment of four groups, as it was asked for in Python."""
    return burnish.classic(**OURS, out=tmp_path_factory.mktemp("runs") / "done")


@pytest.fixture
def threads() -> Iterator[int]:
    """More threads than a group computes with."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield 2
    torch.set_num_threads(before)


def stamps(folder: Path) -> dict[str, int]:
    """When each of the groups' files was written."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in sorted(folder.glob("groups/*/*"))}


def test_every_file_is_there(done: Path) -> None:
    assert done.name == "done"
    files = {path.name for path in done.iterdir()}
    assert files >= {"config.yaml", "environment.json", "returns.parquet", "summary.json", "report.html"}
    for stem in ("returns", "returns_by_steps"):
        assert (done / f"{stem}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (done / f"{stem}.svg").read_text()
    assert "CartPole-v1" in (done / "report.html").read_text()
    told = read_mapping(done / "environment.json")
    assert told["seed"] == 4
    assert told["packages"].keys() >= {"burnish", "torch", "gymnasium", "numpy"}
    groups = {"ppo-00-00", "ppo-01-01", "reinforce-00-00", "reinforce-01-01"}
    assert {path.name for path in (done / "groups").iterdir()} == groups


def test_the_table_has_every_episode(done: Path) -> None:
    """Algorithms in the order of the path, whichever was computed or asked for first."""
    frame = pd.read_parquet(done / "returns.parquet")
    kinds = {name: str(kind) for name, kind in frame.dtypes.items() if name != "algorithm"}
    assert kinds == {"run": "int64", "episode": "int64", "return": "float64", "length": "int64", "steps": "int64"}
    assert list(frame.columns) == ["algorithm", *kinds]
    rows = [[name, run, k] for name in ("reinforce", "ppo") for run in (0, 1) for k in range(1, 6)]
    assert frame[["algorithm", "run", "episode"]].values.tolist() == rows
    assert (frame["return"] == frame.length).all()  # CartPole gives 1 a step
    one = frame[(frame.algorithm == "reinforce") & (frame.run == 1)]  # with one copy steps are those of its episodes
    assert one.steps.tolist() == one.length.cumsum().tolist()


def test_the_summary_is_of_the_table(done: Path) -> None:
    frame, found = pd.read_parquet(done / "returns.parquet"), json.loads((done / "summary.json").read_text())
    assert (found["env"], found["episodes"], found["threshold"]) == ("CartPole-v1", 5, 475)
    assert list(found["algorithms"]) == ["reinforce", "ppo"]
    for name, one in found["algorithms"].items():
        returns = [[], []]
        for row in frame.itertuples(index=False):
            if row.algorithm == name:
                returns[row.run].append(row[3])
        assert one["mean_per_run"] == pytest.approx([sum(run) / 5 for run in returns])
        seconds = [read_mapping(path)["seconds"] for path in done.glob(f"groups/{name}-*/group.json")]
        assert one["seconds"] == pytest.approx(sum(seconds))
        assert len(seconds) == 2


def test_the_configuration_says_all_and_is_run_again(done: Path) -> None:
    config = read_mapping(done / "config.yaml")
    assert config["algorithms"]["ppo"]["clip"] == 0.1
    assert config["algorithms"]["reinforce"]["gamma"] > 0
    assert experiment(config) == experiment(OURS | {"out": str(done)})


def test_groups_that_take_longest_begin_first() -> None:
    plan = experiment({"runs": 5, "group": 2, "seed": 3, "algorithms": "trpo,ppo"})
    groups = groups_of(plan)
    assert [(g.method.name, g.first, g.last) for g in groups] == [
        (name, first, last) for name in ("ppo", "trpo") for first, last in [(0, 1), (2, 3), (4, 4)]
    ]
    assert groups[1].seeds == [3_000_009 + 2, 3_000_009 + 3]
    assert {(g.env, g.episodes, g.hidden) for g in groups} == {("CartPole-v1", 1000, (64, 64))}


@pytest.mark.slow
def test_two_processes_find_the_same(done: Path, tmp_path: Path) -> None:
    """Bytes of the table and of all weights; other environments' modules are found there too: see the next test."""
    other = classic(**OURS | {"processes": 2}, out=tmp_path / "other")
    assert (other / "returns.parquet").read_bytes() == (done / "returns.parquet").read_bytes()
    paths = sorted(path.relative_to(done) for path in done.glob("groups/*/weights.safetensors"))
    assert len(paths) == 4
    for path in paths:
        assert (other / path).read_bytes() == (done / path).read_bytes()


def test_resuming_computes_what_is_missing_and_nothing_else(done: Path, tmp_path: Path) -> None:
    """One group that never began, and one that was killed half-way, with its table written but not its last file."""
    run = tmp_path / "run"
    shutil.copytree(done, run)
    shutil.rmtree(run / "groups" / "ppo-01-01")
    half = run / "groups" / "reinforce-00-00"
    (half / "group.json").unlink()
    (half / "returns.parquet").write_bytes(b"half of a tab")
    (half / "metrics.jsonl").write_text('{"step": 1}\n{"st')
    for name in ("returns.parquet", "summary.json", "report.html"):
        (run / name).unlink()
    before = stamps(run)
    assert classic(**OURS, out=run, resume=True) == run
    after = stamps(run)
    for name in ("ppo-00-00", "reinforce-01-01"):
        kept = {path: when for path, when in before.items() if name in path}
        assert kept
        assert kept == {path: when for path, when in after.items() if name in path}
    assert after.keys() == stamps(done).keys()
    assert (run / "returns.parquet").read_bytes() == (done / "returns.parquet").read_bytes()
    assert (run / "report.html").exists()


def test_a_folder_that_exists_is_not_written_over(done: Path) -> None:
    before = stamps(done) | {"table": (done / "returns.parquet").stat().st_mtime_ns}
    with pytest.raises(UserError, match=r"exists and is not empty: use --resume to continue it, or another --out"):
        classic(**OURS, out=done)
    with pytest.raises(UserError, match=r"was begun with 5 episodes: give more to go on with it, or choose another"):
        classic(**OURS | {"episodes": 4}, out=done, resume=True)
    with pytest.raises(UserError, match=r"was begun with 5 episodes and no number of steps, and can go on with more"):
        classic(**OURS | {"steps": 900}, out=done, resume=True)
    with pytest.raises(UserError, match=r"was begun with another config, seed \(was 4, now 5\)"):
        classic(**OURS | {"episodes": 6, "seed": 5}, out=done, resume=True)
    with pytest.raises(UserError, match=r"algorithms.ppo.clip \(was 0.1, now 0.2\)"):
        classic(**OURS | {"algorithms": {"ppo": {"copies": 2}, "reinforce": {}}}, out=done, resume=True)
    assert before == stamps(done) | {"table": (done / "returns.parquet").stat().st_mtime_ns}


@pytest.mark.parametrize(
    ("options", "threshold"), [({}, 7.0), ({"max_episode_steps": 10}, None)], ids=["registered", "told"]
)
def test_the_threshold_is_that_of_the_environment_as_registered(
    options: dict[str, int], threshold: float | None, tmp_path: Path
) -> None:
    """Stairs return 7, which was registered as enough; with another limit nobody knows what is."""
    folder = classic(**STAIRS, algorithms="reinforce", runs=1, env_options=options, out=tmp_path / "run")
    found = json.loads((folder / "summary.json").read_text())
    assert found["threshold"] == threshold
    one = found["algorithms"]["reinforce"]
    assert (one["mean"]["mean"], one["steps"], one["runs"]) == (7, 9, 1)
    assert one["runs_at_least"] == (None if threshold is None else 1)


WRONG_WORLDS = {
    "CartPool-v1": "no such environment 'CartPool-v1': did you mean CartPole-v",
    "no.such.module:CartPole-v1": "the module of the environment 'no.such.module:CartPole-v1' cannot be imported",
    f"{HERE}:Stair-v0": "no such environment 'Stair-v0': did you mean Stairs-v0",
    f"{HERE}:Unread-v0": "Unread-v0 has the observation space Sequence(Discrete(4), stack=False), which is not",
    f"{HERE}:Unled-v0": "Unled-v0 has the action space Dict('left': Discrete(2)), which is not supported",
}


@pytest.mark.parametrize("env", WRONG_WORLDS)
def test_an_environment_that_does_not_fit_is_told_before_anything_is_written(env: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        classic(**SMALL, env=env, out=tmp_path / "run")
    assert WRONG_WORLDS[env] in str(caught.value)
    assert not (tmp_path / "run").exists()


UNSUITED = {
    "q_learning": ("CartPole-v1", "q_learning cannot learn CartPole-v1: it needs a table of states"),
    "dqn": ("Pendulum-v1", "dqn cannot learn Pendulum-v1: it needs a value of each action, and actions are Box"),
    "sac": ("CartPole-v1", "sac cannot learn CartPole-v1: it needs a Box of real numbers with bounds, and actions are"),
}


@pytest.mark.parametrize("name", UNSUITED)
def test_what_an_algorithm_cannot_play_is_told_before_anything_is_written(name: str, tmp_path: Path) -> None:
    env, said = UNSUITED[name]
    with pytest.raises(UserError) as caught:
        classic(env=env, algorithms=name, steps=10, runs=1, quiet=True, out=tmp_path / "run")
    assert said in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_options_of_an_environment_that_it_has_not(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Stairs-v0 could not be made: .*steep"):
        classic(**STAIRS, env_options={"steep": True}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_that_fails_is_named_and_the_others_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environments made first and second are looked at; the fourth is that of run 1 of the first group, ppo."""
    monkeypatch.setattr(Loose, "made", 0)
    asked = SMALL | {
        "env": f"{HERE}:Loose-v0",
        "env_options": {"loose": 3},
        "algorithms": {"reinforce": {}, "ppo": {"copies": 1, "rollout": 4}},
        "runs": 3,
        "episodes": 4,
        "out": tmp_path / "run",
    }
    with pytest.raises(UserError) as caught:
        classic(**asked)
    assert str(caught.value).startswith(f"ppo, run 1: {LOOSE} (")
    assert str(caught.value).endswith(f"; the other runs' results are in {tmp_path / 'run'}")
    assert "classic_worlds.py, line " in str(caught.value)
    frame = pd.read_parquet(tmp_path / "run" / "returns.parquet")
    left = frame.groupby("algorithm").run.unique().apply(list).to_dict()
    assert left == {"ppo": [0, 2], "reinforce": [0, 1, 2]}
    assert (frame["return"] == 7).all()
    found = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert {name: one["runs"] for name, one in found["algorithms"].items()} == {"reinforce": 3, "ppo": 2}
    assert (tmp_path / "run" / "report.html").exists()
    assert found["failed"] == {"PPO": 1}
    assert "All results are without 1 run of PPO, which failed." in (tmp_path / "run" / "report.html").read_text()
    done = tmp_path / "run" / "groups" / "reinforce-00-02" / "group.json"
    before = done.stat().st_mtime_ns
    monkeypatch.setattr(Loose, "made", 10)  # mended: none is loose any more
    classic(**asked, resume=True)
    assert done.stat().st_mtime_ns == before
    frame = pd.read_parquet(tmp_path / "run" / "returns.parquet")
    assert frame.groupby("algorithm").run.unique().apply(list).to_dict()["ppo"] == [0, 1, 2]


def test_where_every_run_fails_there_is_no_table(tmp_path: Path, threads: int) -> None:
    """And however it ends, this process has as many threads as before."""
    with pytest.raises(UserError) as caught:
        classic(
            **SMALL,
            env=f"{HERE}:Loose-v0",
            env_options={"loose": -1},
            algorithms="reinforce",
            runs=2,
            out=tmp_path / "run",
        )
    said = "2 runs failed alike (2 of reinforce), the first of them reinforce, run 0: in episode 3, RuntimeError"
    assert str(caught.value).startswith(said)
    assert not (tmp_path / "run" / "returns.parquet").exists()
    assert torch.get_num_threads() == threads


def test_a_group_whose_gradient_is_not_finite_does_not_take_the_others_along(tmp_path: Path) -> None:
    """The rate of 1e30 is of ppo, which is computed first. All of its runs fail, and are tried again on resuming."""
    asked = OURS | {
        "algorithms": {"reinforce": {}, "ppo": {"learning_rate": 1e30, "copies": 2}},
        "episodes": 30,
        "group": 2,
        "out": tmp_path / "run",
    }
    with pytest.raises(
        UserError, match=r"ppo, run 0: .* overflows? float32: lower the learning rate.*; the other runs'"
    ):
        classic(**asked)
    frame = pd.read_parquet(tmp_path / "run" / "returns.parquet")
    assert frame.groupby("algorithm").size().to_dict() == {"reinforce": 60}
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["algorithms"].keys() == {"reinforce"}
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["failed"] == {"PPO": 2}


def test_algorithms_that_never_learned_are_told(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    """3 episodes of 3 steps fill no rollout of 2 × 32; of 4 episodes one at a time, the last is not learned from."""
    asked = SMALL | {"quiet": False, "env": f"{HERE}:Stairs-v0", "runs": 2, "out": tmp_path / "run"}
    classic(**asked, episodes=4, algorithms={"ppo": {"copies": 2, "rollout": 32}, "reinforce": {}})
    said = "the returns of PPO are those of an untrained policy, because it made no update in any of its runs"
    found = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert found["warnings"] == [said]
    assert {name: one["updates_per_run"] for name, one in found["algorithms"].items()} == {
        "reinforce": [3, 3],
        "ppo": [0, 0],
    }
    (warning,) = [str(one.message) for one in recwarn if "untrained" in str(one.message)]
    assert warning.startswith(f"{said}: it learns from 2 × 32 = 64 steps at a time")
    assert f"Warning: {said}." in (tmp_path / "run" / "report.html").read_text()


def test_runs_of_as_many_steps(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    """31 steps of episodes of 3: ten have ended. Endless ones never do, which is said, or warned of."""
    asked = SMALL | {"quiet": False, "runs": 2, "steps": 31, "algorithms": "reinforce"}
    classic(**asked, env=f"{HERE}:Stairs-v0", out=tmp_path / "run")
    found = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (found["steps"], found["episodes"], found["algorithms"]["reinforce"]["steps"]) == (31, 10, 60)
    page = (tmp_path / "run" / "report.html").read_text()
    assert "a mean return of 7.00 over 31 environment steps" in page
    with pytest.raises(UserError, match="no episode ended within 31 steps, so that there are no returns to show"):
        classic(**asked, env=f"{HERE}:Endless-v0", out=tmp_path / "endless")
    assert not [one for one in recwarn if "no limit" in str(one.message)]
    assert "Endless-v0 has no limit on the steps of an episode" in cautions(f"{HERE}:Endless-v0")[0]
    assert cautions(f"{HERE}:Endless-v0", max_episode_steps=9) == cautions(f"{HERE}:Stairs-v0") == []


def test_a_folder_that_was_not_tidied_goes_on_all_the_same(done: Path, tmp_path: Path) -> None:
    """A kill after the groups went on may leave what they went on from."""
    run = Path(shutil.copytree(done, tmp_path / "run"))
    shutil.copytree(run / "groups", run / "earlier")
    classic(**OURS | {"episodes": 6}, out=run, resume=True)
    assert returns_of(run / RETURNS).groupby(["algorithm", "run"]).episode.max().tolist() == [6] * 4
    assert not (run / "earlier").exists()


def test_resuming_elsewhere_is_told(done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Finished groups of another version of torch are kept: whether to mix them is the user's to know of."""
    run = tmp_path / "run"
    shutil.copytree(done, run)
    file = run / "environment.json"
    before = json.loads(file.read_text())
    file.write_text(json.dumps(before | {"packages": before["packages"] | {"torch": "0.1"}}))
    classic(**OURS | {"quiet": False}, out=run, resume=True)
    told = " ".join(capsys.readouterr().err.split())
    assert told.startswith(
        "resumed in a different environment, so not to the same bits: packages.torch (was '0.1', now '"
    )
    classic(**OURS, out=run, resume=True)
    assert capsys.readouterr() == ("", "")


# Ctrl-C ------------------------------------------------------------------------------------------------------------

COMMAND = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
from burnish.cli import main
main()
"""


def waited_for(what: Callable[[], bool], seconds: float = 300) -> bool:
    """Whether it came true."""
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def living(session: int) -> list[str]:
    """The processes of a session that are not over."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, _, its = path.read_text().rpartition(")")[2].split()[:4]
            if int(its) == session and state != "Z":
                found.append(path.parent.name)
    return found


@contextmanager
def started(arguments: list[object], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`burnish …` as a terminal has it: a session of its own, all of which gets a Ctrl-C."""
    command = [sys.executable, "-c", COMMAND, *map(str, arguments)]
    paths = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=file, env=os.environ | {"PYTHONPATH": paths}, start_new_session=True
        )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.mark.slow
def test_control_c_keeps_finished_groups_and_leaves_no_process(tmp_path: Path) -> None:
    """Two processes and five groups: the first to begin is quick, and the others would take two minutes each."""
    run, log = tmp_path / "run", tmp_path / "log"
    file = tmp_path / "c.yaml"
    file.write_text(f"env: {HERE}:Slow-v0\nenv_options: {{folder: {tmp_path}}}\nalgorithms: [reinforce]\n")
    knobs = ["--runs", 5, "--group", 1, "--episodes", 100, "--processes", 2, "--hidden", 2, "--out", run]
    with started(["classic", "--config", file, *knobs], log) as process:
        ready = lambda: len(list(tmp_path.glob("slow-*"))) == 2 or process.poll() is not None  # noqa: E731
        assert waited_for(ready), log.read_text()
        assert waited_for(lambda: len(list(run.glob("groups/*/group.json"))) == 1, 60), log.read_text()
        os.killpg(process.pid, signal.SIGINT)
        assert waited_for(lambda: process.poll() is not None, 60), log.read_text()
        assert process.returncode == 130, log.read_text()
        assert waited_for(lambda: not living(process.pid), 30)
    said = f"burnish: interrupted: {run} keeps the finished groups; --resume computes the others\n"
    *before, last = [line for line in log.read_text().splitlines(keepends=True) if line.strip()]
    assert last == said
    assert all(re.fullmatch(r"reinforce, run \d: \d+ s\n", line) for line in before)  # told already, or not yet
    (kept,) = run.glob("groups/*/group.json")
    assert len(pd.read_parquet(kept.parent / "returns.parquet")) == 100


def test_damaged_returns_are_named(tmp_path: Path) -> None:
    path = tmp_path / RETURNS
    pd.DataFrame({"run": [1, 2]}).to_parquet(path)
    assert list(returns_of(path).run) == [1, 2]
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match=rf"returns\.parquet is damaged \(.*\): remove {tmp_path} and compute it again"):
        returns_of(path)
