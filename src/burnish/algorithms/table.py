"""The methods there are. Configuration, command line, docs and report all follow this table."""

from dataclasses import dataclass
from typing import Any

from burnish.algorithms.dpo import DPO
from burnish.algorithms.sft import SFT


@dataclass(frozen=True)
class Entry:
    """A method: its dataclass, the kind of batch it learns from, whether it has a reference, whether dropout may be
    on, and the learning rate that it has by default."""

    algorithm: type[Any]
    summary: str
    data: str
    learning_rate: float
    reference: bool = False
    dropout: bool = False


ALGORITHMS = {
    "sft": Entry(SFT, "Supervised fine-tuning on demonstrations", "demonstrations", 2e-5, dropout=True),
    "dpo": Entry(DPO, "Direct preference optimisation on comparisons", "preferences", 1e-6, reference=True),
}


def name_of(algorithm: object) -> str:
    """The table's name of an algorithm object. Raises TypeError for what is none."""
    for name, entry in ALGORITHMS.items():
        if type(algorithm) is entry.algorithm:
            return name
    known = ", ".join(f"{entry.algorithm.__name__}()" for entry in ALGORITHMS.values())
    raise TypeError(f"{algorithm!r} is no algorithm: give one of {known}")
