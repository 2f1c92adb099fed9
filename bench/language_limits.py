"""How fast a machine could be: needed FLOPs of the works of bench/language.py, and the measured peak of its products.

A work needs every prompt read once, however many responses follow it, and the vocabulary at response tokens alone. A
gradient costs twice its forward pass. Run as a process it measures the peak: python bench/language_limits.py THREADS
"""

import json
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from language_works import BETA, PPO_EPOCHS, Work

Shape = dict[str, int]
INSTRUCTIONS = {"AVX2": "avx2", "AVX-512": "avx512f", "AVX-512 BF16": "avx512_bf16", "AMX BF16": "amx_bf16"}
BFLOAT16 = ("AVX-512 BF16", "AMX BF16")


def body(shape: Shape, begin: int, end: int) -> int:
    """FLOPs of the layers for tokens `begin` … `end` − 1 of a text, each of which attends to itself and those before.

    Σ_t 2·matrices + 4·layers·hidden·(t + 1): a product of m weights with a vector costs 2m; attention 2·hidden for the
    scores and 2·hidden for the mean, per layer and token that is attended to.
    """
    attended = (end * (end + 1) - begin * (begin + 1)) // 2
    return 2 * shape["matrices"] * (end - begin) + 4 * shape["layers"] * shape["hidden"] * attended


def head(shape: Shape, tokens: int) -> int:
    """FLOPs of the logits of so many tokens."""
    return 2 * shape["hidden"] * shape["vocabulary"] * tokens


def texts(shape: Shape, start: int, lengths: Iterable[int], vocabulary: bool = True) -> int:
    """FLOPs of one forward pass of a prompt of `start` tokens, once, and of each text that goes on from it.

    With `vocabulary` the tokens after the prompt are predicted, so that a text's last token is not read; else all are.
    """
    unread = int(vocabulary)
    found = body(shape, 0, start)
    for length in lengths:
        found += body(shape, start, max(start, length - unread))
        found += head(shape, length - start) if vocabulary else 0
    return found


def needed(work: Work, shape: Shape, batches: Sequence[dict[str, Any]]) -> int:
    """FLOPs that a work's batches need, from what Burnish's side noted of them."""
    total = 0
    for batch in batches:
        for starts, lengths in zip(batch["starts"], batch["lengths"], strict=True):
            start = min(starts)
            policy, scores = texts(shape, start, lengths), texts(shape, start, lengths, vocabulary=False)
            if work.method == "kto":  # the mismatched text has no gradient
                total += 3 * texts(shape, start, lengths[:1]) + texts(shape, start, lengths[1:]) + policy
            elif work.method == "ppo":  # sampled, the reference, the reward, the critic; then both in every epoch
                total += 2 * policy + 2 * scores + PPO_EPOCHS * 3 * (policy + scores)
            elif work.method in BETA:  # sampled, the reference if there is one, and one update
                total += (4 + bool(BETA[work.method])) * policy
            else:
                total += {"sft": 3 * policy, "reward": 3 * scores, "dpo": 4 * policy, "sample": policy}[work.method]
    return total


def instructions() -> list[str]:
    """Those of the CPU's instruction sets that matter here, where Linux says."""
    info = Path("/proc/cpuinfo")
    flags = (
        next((line.split() for line in info.read_text().splitlines() if line.startswith("flags")), [])
        if (info.exists())
        else []
    )
    return [name for name, flag in INSTRUCTIONS.items() if flag in flags]


def measure(threads: int, seconds: float = 2.0) -> dict[str, float]:
    """The most FLOPs a second that a product of two square matrices reached, by precision.

    Seconds are those on a core, shared by the threads, as in the works' share of it.
    """
    import torch

    torch.set_num_threads(threads)
    found = {}
    for name in ("float32", "bfloat16"):
        if name == "bfloat16" and not set(BFLOAT16) & set(instructions()):
            continue
        a, b = (torch.randn(1536, 1536).to(getattr(torch, name)) for _ in range(2))
        best, until = float("inf"), time.perf_counter() + seconds
        while time.perf_counter() < until:
            began = time.process_time()
            torch.mm(a, b)
            best = min(best, (time.process_time() - began) / threads)
        found[name] = 2 * 1536**3 / best
    return found


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
