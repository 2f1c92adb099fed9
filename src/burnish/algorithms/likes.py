"""What other libraries compute under a method's name, as options of the method here: `--like NAME`.

The options are the libraries' defaults in the versions of docs/online.md, which has the same table with its sources.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Like:
    """The options that do what a library does, and what it does that no option here can, as a sentence.

    `inexact` are further ones where the sampler is not the policy: another program, or older weights.
    """

    options: dict[str, Any] = field(default_factory=dict)
    differs: str = ""
    inexact: dict[str, Any] = field(default_factory=dict)


CLIP: dict[str, Any] = {"clip_low": 0.2, "clip_high": 0.2}
TRL: dict[str, Any] = {"std_eps": 1e-4, "beta": 0.0}
TRL_INEXACT: dict[str, Any] = {
    "sampler_correction": "mask",
    "correction_level": "sequence",
    "correction_low": 0.0,
    "correction_high": 3.0,
}
VERL: dict[str, Any] = CLIP | {"beta": 0.0}
OPENRLHF: dict[str, Any] = CLIP | {"over": "token", "beta": 0.01, "kl_in": "reward"}
NEMO: dict[str, Any] = CLIP | {"over": "token", "beta": 0.01, "kl_in": "loss", "kl_estimator": "k3"}
LEFT_OUT: dict[str, Any] = {"advantage": "leave_one_out_standardise", "std_eps": 1e-6}
WHITENED = "the variance by which it standardises advantages is that of a sample (n − 1)"

LIKES: dict[str, dict[str, Like]] = {
    "trl": {
        "grpo": Like(TRL | CLIP | {"over": "token", "completions_per_prompt": 8}, inexact=TRL_INEXACT),
        "rloo": Like(CLIP | {"ratio": "sequence", "beta": 0.05, "kl_in": "score", "completions_per_prompt": 2}),
        "gspo": Like(TRL | CLIP | {"over": "sequence"}, inexact=TRL_INEXACT),
        "cispo": Like(
            TRL | {"over": "token", "clip_low": None, "clip_high": 4.0},
            "its option epsilon_high is the largest weight itself, by default 0.2; the 5 here is that of its "
            "documentation",
            TRL_INEXACT,
        ),
    },
    "verl": {
        "grpo": Like(VERL | {"over": "token", "dual_clip": 3.0}),
        "rloo": Like(VERL | {"ratio": "token", "over": "token", "dual_clip": 3.0}),
        "gspo": Like(
            VERL | {"over": "sequence"},
            "its gradient is that of each token's own ratio, the same as long as a completion has one advantage",
        ),
        "cispo": Like(VERL | {"over": "token"}),
        "reinforce_plus_plus": Like(VERL | {"over": "token", "dual_clip": 3.0}, WHITENED),
    },
    "openrlhf": {
        "grpo": Like(OPENRLHF | {"std_eps": 1e-9}),
        "gspo": Like(OPENRLHF | {"std_eps": 1e-9, "over": "sequence"}),
        "reinforce_plus_plus": Like(OPENRLHF),
    },
    "nemo": {
        "grpo": Like(NEMO | LEFT_OUT),
        "gspo": Like(NEMO | LEFT_OUT | {"over": "sequence"}),
        "cispo": Like(NEMO | LEFT_OUT),
        "reinforce_plus_plus": Like(NEMO | {"group_mean": True, "completions_per_prompt": 16}),
    },
    "prime-rl": {
        "grpo": Like(
            {"advantage": "centre", "over": "token", "beta": 0.0},
            "it masks tokens whose probability has changed by more than 0.2 (DPPO) where this clips their ratio, and "
            "adds 0.001 times the squared log-ratio",
        ),
    },
}


def libraries(method: str) -> list[str]:
    """The libraries whose form of a method can be asked for."""
    return [name for name, methods in LIKES.items() if method in methods]
