"""What a short run of any method is asked for with."""

from pathlib import Path

from burnish.algorithms.table import load

DATA = {"demonstrations": "texts", "preferences": "pairs", "prompts": "prompts", "feedback": "pairs"}


def options(files: Path, out: Path, method: str = "sft") -> list[object]:
    algorithm = load(method)
    data = files / f"{DATA[algorithm.data]}.jsonl"
    common = ["--batch-size", 4, "--learning-rate", 0.01, "--threads", 1, "--max-length", 40]
    if algorithm.experience:
        common += ["--reward", "lexicon", "--rollout", 4, "--max-new-tokens", 4, "--update-epochs", 1]
    if method == "distil":
        common += ["--teacher", files / "model"]
    return [method, "--model", files / "model", "--data", data, "--out", out, *common]
