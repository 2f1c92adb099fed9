"""Commands in several processes: who prints, and how all end."""

import signal
from pathlib import Path

import jobs
import pytest
import ranks
from safetensors.torch import load_file

SENTENCE = "process {} of 2 has ended: the others end too; continue with --resume"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log.txt"


def sft(files: Path, *more: str) -> list[str]:
    common = ["--model", str(files / "model"), "--data", str(files / "texts.jsonl"), "--out", "run", "--threads", "1"]
    return ["sft", *common, "--batch-size", "3", "--steps", "8", "--save-every", "2", "--max-length", "40", *more]


def weights(log: Path) -> bytes:
    return (log.parent / "run/model/model.safetensors").read_bytes()


def once(log: Path) -> str:
    """The one line of errors in the log."""
    (line,) = (line for line in log.read_text().splitlines() if line.startswith(("burnish:", "Error:")))
    return line


def test_the_main_process_prints(files: Path, log: Path) -> None:
    assert ranks.run([sft(files)] * 2, log) == [0, 0]
    lines = log.read_text().splitlines()
    assert lines.count("run") == 1
    assert sum("rows used" in line for line in lines) == 1
    assert sum(line.startswith("SFT 8/8") for line in lines) == 1
    for rank in range(2):  # each says it in its own file
        said = (log.parent / f"run/logs/rank-00{rank}.txt").read_text()
        assert said.count("rows used") == said.count("SFT 8/8") == said.count(f"process {rank} of 2 begins") == 1


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        (["--steps", "none"], "Error: Invalid value for '--steps'"),
        (["--data", "absent.jsonl"], "burnish: absent.jsonl"),
        (["--device", "meta"], "burnish: several processes train on the CPU only for now"),
    ],
)
def test_a_mistake_is_said_once(files: Path, log: Path, mistake: list[str], said: str) -> None:
    assert ranks.run([sft(files, *mistake)] * 2, log) == [2, 2]
    assert once(log).startswith(said)
    assert not (log.parent / "run").exists()


def test_the_mistake_of_one_process_ends_all(files: Path, log: Path) -> None:
    assert ranks.run([sft(files), sft(files, "--learning-rate", "-1")], log) == [2, 2]
    assert once(log) == "burnish: learning_rate must be above 0, not -1.0"
    assert not (log.parent / "run").exists()


def test_a_command_that_does_not_train_is_refused(log: Path) -> None:
    assert ranks.run([["report", "run"]] * 2, log) == [2, 2]
    assert once(log) == "burnish: burnish report runs in one process: start it without torchrun"


@pytest.fixture(scope="module")
def whole(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log of a run that nothing happened to."""
    log = tmp_path_factory.mktemp("whole") / "log.txt"
    assert ranks.run([sft(files, "--quiet")] * 2, log) == [0, 0]
    return log


@pytest.mark.parametrize(
    ("rank", "place", "times"),
    [(1, "mid-accumulation", 4), (0, "mid-accumulation", 6), (0, "mid-save", 2), (1, "before a checkpoint", 2)],
)
def test_a_process_that_is_killed_ends_all_and_the_run_resumes_to_the_same_bits(
    files: Path, log: Path, whole: Path, rank: int, place: str, times: int
) -> None:
    began = ranks.run([sft(files, "--quiet")] * 2, log, (rank, place, times))
    assert (began[rank], began[1 - rank]) == (-signal.SIGKILL, 2)
    assert once(log) == f"burnish: {SENTENCE.format(rank)}"
    assert ranks.run([sft(files, "--quiet", "--resume")] * 2, log) == [0, 0]
    assert weights(log) == weights(whole)
    assert (log.parent / "run/metrics.jsonl").read_bytes() == (whole.parent / "run/metrics.jsonl").read_bytes()


def test_a_process_that_is_killed_ends_all_where_weights_are_divided(files: Path, log: Path, tmp_path: Path) -> None:
    """The other one is inside a collective of FSDP then, not one of ours."""
    command = sft(files, "--quiet", "--shard", "full")
    assert ranks.run([command] * 2, log, (1, "mid-accumulation", 4)) == [2, -signal.SIGKILL]
    assert once(log) == f"burnish: {SENTENCE.format(1)}"
    assert ranks.run([[*command, "--resume"]] * 2, log) == [0, 0]
    (tmp_path / "whole").mkdir()
    other = tmp_path / "whole/log.txt"
    assert ranks.run([command] * 2, other) == [0, 0]
    assert weights(log) == weights(other)


def test_control_c_in_one_process_stops_all_after_the_same_step(files: Path, log: Path, whole: Path) -> None:
    assert ranks.run([sft(files, "--quiet")] * 2, log, (1, "interrupt", 3)) == [130, 130]
    assert once(log) == "burnish: interrupted: run is saved up to step 3; --resume continues it"
    assert ranks.run([sft(files, "--quiet", "--resume")] * 2, log) == [0, 0]
    assert weights(log) == weights(whole)


def test_a_reward_that_fails_is_said_once_and_the_run_resumes(files: Path, log: Path) -> None:
    """The second rollout's: after the first, step 1 is saved by all."""
    (log.parent / "rewards.py").write_text(
        "import os\ncalls = 0\n"
        "def score(prompts, responses):\n"
        "    global calls\n"
        "    calls += 1\n"
        "    assert calls < 2 or os.path.exists('fixed'), 'no second time'\n"
        "    return [float(len(one)) for one in responses]\n"
    )
    more = ["--completions-per-prompt", "2", "--max-new-tokens", "3", "--batch-size", "4", "--steps", "3", "--quiet"]
    grpo = ["grpo", *sft(files, *more)[1:], "--data", str(files / "prompts.jsonl"), "--reward", "rewards:score"]
    del grpo[3:5]  # its other data
    assert ranks.run([grpo] * 2, log) == [2, 2]
    assert once(log).startswith("burnish: step 2: ")
    assert once(log).endswith("and step 1 is saved: continue with --resume")
    assert len((log.parent / "run/failed_rollout.jsonl").read_text().splitlines()) == 4
    (log.parent / "fixed").touch()
    assert ranks.run([[*grpo, "--resume"]] * 2, log) == [0, 0]
    assert len((log.parent / "run/metrics.jsonl").read_text().splitlines()) == 3


def test_another_number_of_processes_goes_on_with_a_warning(files: Path, log: Path, whole: Path) -> None:
    assert ranks.run([sft(files, "--quiet")] * 2, log, (1, "interrupt", 3)) == [130, 130]
    assert jobs.run(sft(files, "--resume"), log) == 0
    assert "so not to the same bits: processes (was 2, now not set)" in log.read_text()
    one, other = (load_file(path.parent / "run/model/model.safetensors") for path in (log, whole))
    assert all((one[name] - other[name]).abs().max() < 1e-5 for name in other)
