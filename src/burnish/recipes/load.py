"""`burnish.load`: what a run left, of a language model or of control."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from burnish.experience.control.trained import TrainedPolicy
from burnish.recipes.control.load import is_control, load_policy
from burnish.run import UserError

if TYPE_CHECKING:
    from burnish.recipes.functions import LoadedRun

OF_CONTROL = ("algorithm", "number", "seed")


def load(run: str | Path, **options: Any) -> "LoadedRun | TrainedPolicy":
    """Load what a training run left in its folder.

    Args:
        run: The run folder, `out` of `burnish.train` or of `burnish.classic`, or what `TrainedPolicy.save` wrote.
        **options: Of a language model `device`, `dtype`, `precision` and `trust_remote_code`, as on the command line.
            Of control `algorithm`, `number` (which of the seeded runs) and `seed` (of sampled actions). Where
            `algorithm` or `number` leaves a choice, the run whose last 100 training episodes returned most is loaded.

    Returns:
        A `LoadedRun`: `model` and `tokenizer` for transformers, `policy` for Burnish, `algorithm`, `settings`,
        `metrics`. Of control a `TrainedPolicy`, whose `act(observation, deterministic=True)` chooses actions.

    Raises:
        UserError: Where the folder is no run, the run is not finished, or a file is damaged.

    Example:
        >>> import burnish
        >>> run = burnish.load("runs/sft")
        >>> run.algorithm
        SFT(over='token')
        >>> run.settings.steps, [line["step"] for line in run.metrics]
        (2, [1, 2])
        >>> type(run.model).__name__
        'GPT2LMHeadModel'
    """
    if isinstance(run, str | Path) and is_control(Path(run)):
        if wrong := sorted(options.keys() - set(OF_CONTROL)):
            raise UserError(f"burnish.load has no option {wrong[0]} for control: it has {', '.join(OF_CONTROL)}")
        return load_policy(run, **options)
    # Transformers takes seconds to import, and control does not need it.
    from burnish.recipes.functions import load_language

    return load_language(run, options)
