"""Names for combinations of options: a method's presets, and the settings of other libraries."""

from typing import Any

from burnish.algorithms.interface import Algorithm
from burnish.run import UserError


def expanded(algorithm: type[Algorithm], given: dict[str, Any]) -> dict[str, Any]:
    """The options with those that `preset` stands for; an option that is given itself comes before them.

    Raises UserError for a preset that the method does not have.
    """
    if (name := given.get("preset")) is None:
        return {key: value for key, value in given.items() if key != "preset"}
    if not algorithm.presets:
        raise UserError(f"{algorithm.name} has no presets: leave out preset")
    if not isinstance(name, str) or name not in algorithm.presets:
        raise UserError(f"preset {name} is none of {algorithm.name}'s: give one of {', '.join(algorithm.presets)}")
    return algorithm.presets[name] | {key: value for key, value in given.items() if key != "preset"}
