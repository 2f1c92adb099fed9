"""Every file operation of small commands fails once, with the error of a broken, full or read-only disk.

A preloaded library (disk_faults.c, compiled with cc) counts the open, write, fsync, truncate, rename, unlink, rmdir and
mkdir calls below one folder, Rust's and Arrow's too, and makes the n-th fail. For every n the command has to end with
status 2 and one sentence that names a file there, or as if nothing had failed; checkpoints that were complete must
still be there; and the command given again (runs have `--resume`) has to leave the same bytes as a run without errors.
Prints a Markdown table; exit status 1 if a position broke one of these promises.

    python bench/disk_faults.py                 all of it, an hour or two
    python bench/disk_faults.py --every 7 sft   every 7th position of one command
"""

import argparse
import ctypes
import errno
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

READS, TAKES_SPACE, CHANGES = 1, 2, 4  # as in disk_faults.c
ERRORS = {
    "EIO once": (errno.EIO, 0, 0),
    "EIO from then on": (errno.EIO, 1, READS | TAKES_SPACE | CHANGES),
    "disk full from then on": (errno.ENOSPC, 1, TAKES_SPACE),
    "read-only from then on": (errno.EROFS, 1, CHANGES),
    "quota exceeded from then on": (errno.EDQUOT, 1, TAKES_SPACE),
}
SHORT = ("--steps", "4", "--save-every", "2", "--eval-every", "4", "--accumulate", "1")
UNSTABLE = ("timings.jsonl", "state.json", "manifest.json", ".lock")  # the length of timings.jsonl is in checkpoints
TIMED = (".json", ".html")
TIMES = re.compile(rb'"seconds": (\{[^}]*\}|[\d.e-]+)|[\d.,]+ (seconds|s|min)\b')


@dataclass
class Case:
    """A command, its `folder` (where operations fail), and what is there `before` it."""

    name: str
    folder: Path
    arguments: list[str]
    before: Path | None = None

    def reset(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.before is not None:
            shutil.copytree(self.before, self.folder)


def armed(arguments: list[str], log: str, environment: dict[str, str], fault: tuple[object, ...]) -> None:
    """In a process of its own: switch the faults on and run the command."""
    import jobs

    ctypes.CDLL(None).disk_faults_arm(*fault)
    jobs.child(arguments, log, None, environment)


def run(case: Case, arguments: list[str], log: Path, position: int = 0, error: str = "EIO once") -> int:
    """Run a command with a fault at `position` (0: none); the exit status. The operations are listed in `log`.ops."""
    import jobs

    log.unlink(missing_ok=True)
    number, lasting, kinds = ERRORS[error]
    listing = os.fsencode(log.with_suffix(".ops"))
    fault = (os.fsencode(case.folder), ctypes.c_long(position), number, lasting, kinds, listing)
    process = jobs.CONTEXT.Process(target=armed, args=(arguments, str(log), dict(os.environ), fault))
    process.start()
    return jobs.finish(process)


def content(folder: Path) -> dict[str, bytes]:
    """The files, without the times that some have."""
    files = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
    found = {name: path.read_bytes() for name, path in files.items() if not name.endswith(UNSTABLE)}
    return {name: TIMES.sub(b"", text) if name.endswith(TIMED) else text for name, text in found.items()}


def newest(names: list[str]) -> int:
    """The newest complete checkpoint among paths, 0 for none."""
    found = [re.search(r"rename .*/checkpoints/step-(\d+)$", name) for name in names]
    return max([int(match[1]) for match in found if match], default=0)


def saved(folder: Path) -> int:
    return max([int(path.name[5:]) for path in folder.glob("checkpoints/step-*")], default=0)


def broken_promise(case: Case, position: int, error: str, log: Path, operations: list[str], whole: dict) -> str:
    """Try one position; "sentence" or "harmless" if all promises held, or what is wrong."""
    case.reset()
    status = run(case, case.arguments, log, position, error)
    said = log.read_text()
    if status == 0:
        outcome = "harmless" if content(case.folder) == whole else "status 0, but other files"
    else:
        plain = status == 2 and len(said.splitlines()) == 1 and said.startswith("burnish: ")
        outcome = "sentence" if plain and str(case.folder) in said else f"status {status}: {said[-600:]}"
    if saved(case.folder) < newest(operations[: position - 1]):
        return f"the checkpoint of step {newest(operations[: position - 1])} is lost; {outcome}"
    if (again := run(case, case.arguments, log)) != 0:
        return f"{outcome}; given again: status {again}: {log.read_text()[-600:]}"
    if (now := content(case.folder)) != whole:
        differing = [name for name in now.keys() | whole.keys() if now.get(name) != whole.get(name)]
        return f"{outcome}; given again: other bytes in {', '.join(sorted(differing))}"
    if outcome in ("sentence", "harmless") and (left := list(case.folder.rglob(".burnish-*"))):
        return f"{outcome}; given again: {left[0].name} is left"
    return outcome


def sweep(case: Case, error: str, every: int, log: Path) -> Counter:
    """Try every position of a command; print what broke a promise, and a row of the table."""
    case.reset()
    assert run(case, case.arguments, log) == 0, log.read_text()
    operations, whole = log.with_suffix(".ops").read_text().splitlines(), content(case.folder)
    outcomes: Counter = Counter()
    began = time.monotonic()
    for position in range(1, len(operations) + 1, every):
        outcome = broken_promise(case, position, error, log, operations, whole)
        kind = outcome if outcome in ("sentence", "harmless") else "broken"
        outcomes[kind] += 1
        if kind == "broken":
            print(f"BROKEN {case.name}, {error}, {position}: {operations[position - 1]}: {outcome}", flush=True)
    numbers = [sum(outcomes.values()), outcomes["sentence"], outcomes["harmless"], outcomes["broken"]]
    row = " | ".join(map(str, [case.name, error, len(operations), *numbers]))
    print(f"| {row} | {time.monotonic() - began:.0f} s |", flush=True)
    return outcomes


def cases(folder: Path, log: Path) -> dict[str, Callable[[], Case]]:
    """The commands, each made when it is asked for."""
    import tiny
    from training.test_resume import Bench

    def training(method: str) -> Case:
        bench = Bench(made(folder / method), method)
        out = folder / method / "out"
        return Case(method, out, bench.arguments(out, "--resume", *SHORT))  # the config says whether it was given

    def finished(name: str, *arguments: str) -> Case:
        """A command on a finished run, which is copied to where the operations fail."""
        bench = Bench(made(folder / name), "sft")
        out = folder / name / "out"
        prompts = tiny.write_rows(bench.folder / "prompts.jsonl", tiny.prompt_rows(7))
        given = [{"RUN": str(out), "MODEL": str(out / "model"), "DATA": str(prompts)}.get(a, a) for a in arguments]
        return Case(name, out, [a.replace("OUT", str(out)) for a in given], before=bench.whole)

    def control() -> Case:
        out = made(folder / "classic") / "out"
        short = ("--episodes", "4", "--runs", "2", "--group", "1", "--hidden", "4", "--processes", "1")
        given = ["classic", "--algorithms", "reinforce", *short, "--out", str(out), "--resume", "--quiet"]
        return Case("classic", out, given)

    return {
        "sft": lambda: training("sft"),
        "ppo": lambda: training("ppo"),
        "dpo": lambda: training("dpo"),
        "reward": lambda: training("reward"),
        "evaluate": lambda: finished("evaluate", "evaluate", "RUN", "--max-new-tokens", "4", "--quiet"),
        "report": lambda: finished("report", "report", "RUN"),
        "sample": lambda: finished(
            "sample", "sample", "MODEL", "--data", "DATA", "--max-new-tokens", "4", "--max-length", "40",
            "--out", "OUT/x/samples.jsonl", "--quiet",
        ),
        "compare": lambda: finished(
            "compare", "compare", "MODEL", "MODEL", "--data", "DATA", "--judge", "lexicon", "--max-new-tokens", "4",
            "--max-length", "40", "--out", "OUT/compared", "--quiet",
        ),
        "classic": control,
    }  # fmt: skip


def made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", nargs="*", help="default: all")
    parser.add_argument("--errors", nargs="*", choices=ERRORS, default=list(ERRORS), metavar="ERROR")
    parser.add_argument("--every", type=int, default=1, help="try every so many positions")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        library, log = folder / "disk_faults.so", folder / "log"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, HERE / "disk_faults.c", "-ldl"], check=True)
        os.environ |= {"LD_PRELOAD": str(library), "BURNISH_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
        known = cases(folder, log)
        print("| command | error | operations | tried | sentence | harmless | broken | time |", flush=True)
        print("|---|---|---|---|---|---|---|---|", flush=True)
        outcomes: Counter = Counter()
        for name in options.commands or known:
            case = known[name]()
            for error in options.errors:
                outcomes += sweep(case, error, options.every, log)
    return 1 if outcomes["broken"] else 0


if __name__ == "__main__":
    sys.exit(main())
