"""A run folder belongs to one run and one process, and is rewound to the lengths in a checkpoint."""

import errno
import hashlib
import json
import math
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from faults import every_fault

from burnish.run import RunFolder, UserError, read_jsonl

CONFIG = {"algorithm": "sft", "learning_rate": 1e-05, "out": Path("x"), "betas": (0.9, 0.99), "data": "über"}


def begun(path: Path) -> Path:
    """The folder of a run that has taken one step."""
    with RunFolder.open(path) as run:
        run.claim(CONFIG)
        run.append("metrics", {"step": 1})
    return path


def test_a_new_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path / "a" / "b") as run:
        assert run.path == tmp_path / "a" / "b"
        assert not run.resumed
        assert run.path.is_dir()


def fail(out: Path, resume: bool = False, metrics: bool = False) -> None:
    with RunFolder.open(out, resume) as run:
        run.claim(CONFIG)
        run.describe({"seed": 1})
        (run.path / "base").mkdir(exist_ok=True)
        if metrics:
            run.append("metrics", {"step": 1})
        raise UserError("no such model")


@pytest.mark.parametrize("left", [[], ["kept"]])
def test_a_run_that_is_refused_before_its_first_step_leaves_nothing(left: list[str], tmp_path: Path) -> None:
    out = tmp_path / "kept" if left else tmp_path / "a" / "b"
    if left:
        out.mkdir()
    with pytest.raises(UserError, match="no such model"):
        fail(out)
    assert [path.name for path in tmp_path.iterdir()] == left
    assert not left or not list(out.iterdir())


def test_a_run_that_has_begun_is_left_where_it_is(tmp_path: Path) -> None:
    files = {".lock", "base", "config.yaml", "environment.json", "metrics.jsonl"}
    for options in ({"metrics": True}, {"resume": True}):
        with pytest.raises(UserError, match="no such model"):
            fail(tmp_path / "x", **options)
        assert {path.name for path in (tmp_path / "x").iterdir()} == files


def test_an_empty_folder_is_taken_and_text_paths_serve(tmp_path: Path) -> None:
    with RunFolder.open(str(tmp_path)) as run:
        assert not run.resumed


def test_a_folder_with_something_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match=r"exists and is not empty: use --resume .* or another --out") as caught:
        RunFolder.open(tmp_path)
    assert str(tmp_path) in str(caught.value)
    with pytest.raises(UserError, match="does not contain a run to resume"):
        RunFolder.open(tmp_path, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_in_the_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(UserError, match=r"x is a file: choose another --out"):
        RunFolder.open(tmp_path / "x")
    with pytest.raises(UserError, match=r"x/y cannot be written \(Not a directory\)"):
        RunFolder.open(tmp_path / "x" / "y")


def test_a_finished_run_is_refused_unless_resumed(tmp_path: Path) -> None:
    begun(tmp_path / "run")
    with pytest.raises(UserError, match="exists and is not empty"):
        RunFolder.open(tmp_path / "run")
    with RunFolder.open(tmp_path / "run", resume=True) as run:
        assert run.resumed


@pytest.mark.parametrize("name", ["metrics.jsonl", "timings.jsonl", ".lock", "checkpoints/step-000001/state.json"])
def test_a_fifo_in_the_place_of_a_file_is_refused(name: str, tmp_path: Path) -> None:
    file = begun(tmp_path / "run") / name
    file.unlink(missing_ok=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(file)
    with pytest.raises(UserError, match=rf"run/{name} is a FIFO, not a file"):
        RunFolder.open(tmp_path / "run", resume=True)


def test_nothing_to_resume_starts_fresh(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path / "run", resume=True) as run:
        assert not run.resumed
        run.claim(CONFIG)
        assert (run.path / "config.yaml").exists()


def test_a_run_that_ended_before_its_first_step_is_nothing_to_lose(tmp_path: Path) -> None:
    """After invalid data, for example: the corrected command works with the same --out."""
    for resume in (False, True, False):
        with RunFolder.open(tmp_path / "run", resume=resume) as run:
            assert not run.resumed
            run.claim({"steps": int(resume)})
            run.describe({"seed": int(resume)})
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text()) == {"steps": 0}


def test_a_config_that_no_run_wrote_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("precious: true")
    with pytest.raises(UserError, match="exists and is not empty"):
        RunFolder.open(tmp_path)
    with RunFolder.open(tmp_path, resume=True) as run, pytest.raises(UserError, match="precious"):
        run.claim(CONFIG)
    with pytest.raises(UserError, match="exists and is not empty"):
        RunFolder.open(tmp_path)


def test_half_written_leftovers_are_cleared_at_the_next_opening(tmp_path: Path) -> None:
    path = begun(tmp_path / "run")
    (path / ".burnish-new-model").mkdir()
    (path / ".burnish-old-model").mkdir()
    RunFolder.open(path, resume=True).close()
    assert sorted(p.name for p in path.iterdir()) == [".lock", "config.yaml", "metrics.jsonl", "model"]


def test_one_process_at_a_time(tmp_path: Path) -> None:
    run = RunFolder.open(tmp_path / "run")
    with pytest.raises(UserError, match=r"run is in use by another process"):
        RunFolder.open(tmp_path / "run")
    run.close()
    run.close()  # A second call is allowed.
    RunFolder.open(tmp_path / "run").close()


def test_the_lock_of_a_killed_process_is_gone(tmp_path: Path) -> None:
    path = begun(tmp_path / "run")
    hold = (
        "import sys, time; from burnish.run import RunFolder as R; r = R.open(sys.argv[1], True); print(1, flush=True)"
    )
    with subprocess.Popen([sys.executable, "-c", hold + "; time.sleep(60)", path], stdout=subprocess.PIPE) as child:
        assert child.stdout
        assert child.stdout.readline() == b"1\n"
        with pytest.raises(UserError, match="in use by another process"):
            RunFolder.open(path, resume=True)
        child.send_signal(signal.SIGKILL)
        child.wait()
        RunFolder.open(path, resume=True).close()


def test_the_config_is_readable_and_comes_back(tmp_path: Path) -> None:
    path = begun(tmp_path / "run")
    text = (path / "config.yaml").read_text()
    assert list(yaml.safe_load(text).items()) == [
        ("algorithm", "sft"),
        ("learning_rate", 1e-05),
        ("out", "x"),
        ("betas", [0.9, 0.99]),
        ("data", "über"),
    ]
    assert "über" in text
    with RunFolder.open(path, resume=True) as run:
        run.claim(CONFIG | {"out": "y", "quiet": True})
    assert (path / "config.yaml").read_text() == text


def test_another_config_is_refused_by_its_keys(tmp_path: Path) -> None:
    path = begun(tmp_path / "run")
    with RunFolder.open(path, resume=True) as run:
        with pytest.raises(UserError, match=r"another config, learning_rate \(was 1e-05, now 0.1\): resume with"):
            run.claim(CONFIG | {"learning_rate": 0.1})
        run.claim(CONFIG | {"learning_rate": 0.1}, free={"learning_rate"})


def test_a_key_that_an_older_version_lacked_has_its_default(tmp_path: Path) -> None:
    path = begun(tmp_path / "run")
    with RunFolder.open(path, resume=True) as run:
        run.claim(CONFIG | {"dtype": "float32"}, defaults={"dtype": "float32", "learning_rate": 7.0})
        with pytest.raises(UserError, match=r"another config, dtype \(was 'float32', now 'bfloat16'\)"):
            run.claim(CONFIG | {"dtype": "bfloat16"}, defaults={"dtype": "float32"})


def test_what_a_run_noted_is_there_where_it_is_continued(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path / "run") as run:
        run.claim({"seed": 1})
        run.describe({"seed": 1, "clock": "noon"})
        assert run.noted() == {}
        run.append("metrics", {"step": 1})
    with RunFolder.open(tmp_path / "run", resume=True) as run:
        assert run.noted() == {"seed": 1, "clock": "noon"}


def test_the_environment_may_change_with_a_warning_but_not_the_inputs(tmp_path: Path) -> None:
    then = {"versions": {"torch": "2.13.0"}, "threads": 2, "seed": 0, "data_sha256": "ab", "tiny": 1e-05}
    with RunFolder.open(tmp_path / "run") as run:
        run.claim(CONFIG)
        assert run.describe(then) == []
        run.append("metrics", {})
    text = (run.path / "environment.json").read_text()
    assert json.loads(text) == then
    with RunFolder.open(run.path, resume=True) as run:
        assert run.describe(then) == []
        assert run.describe(then | {"threads": 1}) == ["threads (was 2, now 1)"]
        with pytest.raises(UserError, match=r"other inputs, data_sha256 \(was 'ab', now 'cd'\): restore"):
            run.describe(then | {"data_sha256": "cd", "threads": 1})
    assert (run.path / "environment.json").read_text() == text


def test_lines_hold_keys_in_order_and_every_bit(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path / "run") as run:
        run.append("metrics", {"step": 1, "b": 0.1 + 0.2, "a": [1e-300, True, None], "text": "naïve\n\u2028"})
        written = (run.path / "metrics.jsonl").read_bytes()  # At once, while the run goes on.
    assert written == (
        b'{"step": 1, "b": 0.30000000000000004, "a": [1e-300, true, null], "text": "na\xc3\xafve\\n\xe2\x80\xa8"}\n'
    )


def test_what_json_cannot_hold_becomes_null(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path / "run") as run:
        run.append("metrics", {"a": math.nan, "b": [math.inf, 1.0], "c": {"d": -math.inf}})
    assert (run.path / "metrics.jsonl").read_text() == '{"a": null, "b": [null, 1.0], "c": {"d": null}}\n'


def test_half_a_surrogate_pair_can_be_written(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path / "run") as run:
        run.append("samples", {"text": "é\ud83d"})
    assert (run.path / "samples.jsonl").read_text() == '{"text": "\\u00e9\\ud83d"}\n'
    assert read_jsonl(run.path / "samples.jsonl") == [{"text": "é\ud83d"}]


def test_there_are_three_growing_files(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path / "run") as run:
        with pytest.raises(ValueError, match="metrics, timings, samples"):
            run.append("notes", {})
        assert [p.name for p in run.path.iterdir()] == [".lock"]


def test_a_run_goes_back_to_what_a_checkpoint_saw(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path / "run") as run:
        run.claim(CONFIG)
        assert run.offsets() == {}
        run.append("metrics", {"step": 1})
        run.append("timings", {"s": 1})
        saw = run.offsets()
        assert saw == {"metrics": len('{"step": 1}\n'), "timings": len('{"s": 1}\n')}
        run.append("metrics", {"step": 2})
        run.append("samples", {"text": "later"})
        run.rewind(saw)
        assert not (run.path / "samples.jsonl").exists()  # As in a run that had not written it yet.
        run.append("metrics", {"step": 22})
    assert read_jsonl(run.path / "metrics.jsonl") == [{"step": 1}, {"step": 22}]
    with RunFolder.open(run.path, resume=True) as run:
        run.rewind({})
        assert run.offsets() == {}
        assert sorted(p.name for p in run.path.iterdir()) == [".lock", "config.yaml"]


@pytest.mark.parametrize("content", ['{"step": 1}', '{"step": 123456789}\n'])
def test_a_file_that_was_tampered_with_is_named_and_nothing_is_cut(tmp_path: Path, content: str) -> None:
    with RunFolder.open(tmp_path / "run") as run:
        for name in ("timings", "metrics"):
            run.append(name, {"step": 1})
        saw = run.offsets()
        run.append("timings", {"step": 2})
        (run.path / "metrics.jsonl").write_text(content)
        with pytest.raises(UserError, match=r"metrics\.jsonl has changed since the last checkpoint"):
            run.rewind(saw)
        assert len(read_jsonl(run.path / "timings.jsonl")) == 2


@pytest.mark.parametrize("name", ["metrics", "timings", "samples"])
def test_a_byte_that_changed_before_the_checkpoint_is_noticed(name: str, tmp_path: Path) -> None:
    with RunFolder.open(tmp_path / "run") as run:
        for step in (1, 2):
            for each in ("metrics", "timings", "samples"):
                run.append(each, {"step": step})
        saw = run.offsets()
        digests = run.digests(saw)
        assert digests["metrics"] == hashlib.sha256(b'{"step": 1}\n{"step": 2}\n').hexdigest()
        run.append(name, {"step": 3})
        path = run.path / f"{name}.jsonl"
        whole = path.read_bytes()
        path.write_bytes(whole.replace(b"2", b"3"))
        with pytest.raises(UserError, match=rf"{name}\.jsonl has changed since the last checkpoint"):
            run.rewind(saw, digests)
        assert len(read_jsonl(path)) == 3
        path.write_bytes(whole.replace(b"3", b"4"))  # after the checkpoint: cut anyway
        run.rewind(saw, digests)
        assert len(read_jsonl(path)) == 2


def test_a_full_disk_costs_no_earlier_line(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (30, 30))
            run = RunFolder.open(tmp_path / "run")
            run.append("metrics", {"step": 1})
            with pytest.raises(UserError, match=r"\.jsonl cannot be written \(File too large\)"):
                run.append("metrics", {"step": "x" * 100})
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == '{"step": 1}\n'


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_folder_that_vanishes_is_noticed_at_the_next_write(tmp_path: Path, how: str) -> None:
    with closing(RunFolder.open(tmp_path / "run")) as run:
        run.append("metrics", {"step": 1})
        shutil.move(run.path, tmp_path / "elsewhere")
        if how == "replaced":
            shutil.copytree(tmp_path / "elsewhere", run.path)
        with pytest.raises(UserError, match=r"metrics\.jsonl was removed or replaced while the run was writing it"):
            run.append("metrics", {"step": 2})
        with pytest.raises(UserError, match=r"run was removed or replaced"):
            run.offsets()
    assert (tmp_path / "elsewhere" / "metrics.jsonl").read_text() == '{"step": 1}\n'


@pytest.mark.parametrize("call", ["fsync", "truncate", "unlink"])
def test_an_error_of_the_disk_is_a_sentence_with_the_file(
    tmp_path: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with RunFolder.open(tmp_path / "run") as run:
        run.append("metrics", {"step": 1})
        length = run.offsets()["metrics"]
        monkeypatch.setattr(os, call, broken)
        act = run.offsets if call == "fsync" else lambda: run.rewind({"metrics": length} if call == "truncate" else {})
        with pytest.raises(UserError, match=r"\.jsonl cannot be written \(Input/output error\)"):
            act()
        monkeypatch.undo()
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == '{"step": 1}\n'


def test_an_error_at_any_operation_costs_no_earlier_line(tmp_path: Path) -> None:
    """A run is opened, resumed at its first line and writes a second."""

    def work() -> None:
        with RunFolder.open(path, resume=True) as run:
            run.claim(CONFIG)
            run.describe({"seed": 0})
            run.rewind({"metrics": len('{"step": 1}\n')})
            run.append("metrics", {"step": 2})
            run.offsets()

    def check(ended: bool) -> None:
        assert [line["step"] for line in read_jsonl(path / "metrics.jsonl")] in ([[1, 2]] if ended else [[1], [1, 2]])
        (path / "environment.json").unlink(missing_ok=True)

    path = begun(tmp_path / "run")
    assert every_fault(path, work, check) >= 8


@pytest.mark.parametrize("how", ["removed", "replaced", "a file", "a dangling link"])
def test_nothing_is_written_to_a_folder_that_vanished(tmp_path: Path, how: str) -> None:
    with closing(RunFolder.open(tmp_path / "run")) as run:
        run.path.rename(tmp_path / "elsewhere")
        if how == "replaced":
            run.path.mkdir()
        elif how == "a file":
            run.path.touch()
        elif how == "a dangling link":
            run.path.symlink_to(tmp_path / "nowhere")
        for write in (lambda: run.replace_folder("model"), run.offsets, lambda: run.append("metrics", {"step": 1})):
            with pytest.raises(UserError, match="run was removed or replaced while"):
                write()
        assert not (tmp_path / "nowhere").exists()
        assert how != "replaced" or not list(run.path.iterdir())


def test_a_folder_that_vanishes_after_the_last_write_is_noticed_at_the_end(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run was removed or replaced"), RunFolder.open(tmp_path / "run") as run:
        run.path.rename(tmp_path / "elsewhere")
    RunFolder.open(tmp_path / "elsewhere").close()  # its lock was released


def test_a_killed_run_has_lost_no_finished_line(tmp_path: Path) -> None:
    """The child reports each logged step; after SIGKILL all of them are in the file, and at most one more."""
    write = (
        "import sys; from burnish.run import RunFolder\nrun = RunFolder.open(sys.argv[1])\n"
        "for step in range(10**9):\n    run.append('metrics', {'step': step})\n    print(step, flush=True)"
    )
    with subprocess.Popen([sys.executable, "-c", write, tmp_path / "run"], stdout=subprocess.PIPE) as child:
        assert child.stdout
        said = [child.stdout.readline()]  # The child is running: the time counts from here.
        time.sleep(0.02)
        child.send_signal(signal.SIGKILL)
        said += child.stdout.readlines()
    steps = [record["step"] for record in read_jsonl(tmp_path / "run" / "metrics.jsonl")]
    logged = max(int(line) for line in said if line.endswith(b"\n"))
    assert steps == list(range(len(steps)))
    assert len(steps) - 1 in (logged, logged + 1)
