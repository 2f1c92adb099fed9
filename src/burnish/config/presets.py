"""Names for combinations of options: a method's presets, and what other libraries compute under its name."""

from __future__ import annotations  # Algorithm imports PyTorch

from typing import TYPE_CHECKING, Any

from burnish.algorithms.likes import LIKES, libraries
from burnish.run import UserError

if TYPE_CHECKING:
    from burnish.algorithms.interface import Algorithm


def expanded(algorithm: type[Algorithm], given: dict[str, Any]) -> dict[str, Any]:
    """The options with those that `like` and `preset` stand for; a preset comes before a library's form, and an option
    that is given itself before both. Among a library's are those for a sampler that is not the policy, where there is
    one and no correction is given.

    Raises UserError for a name that the method does not have.
    """
    own = {key: value for key, value in given.items() if key not in ("like", "preset")}
    found: dict[str, Any] = {}
    if (name := given.get("like")) is not None:
        known(algorithm, "like", name, libraries(algorithm.name))
        like = LIKES[name][algorithm.name]
        inexact = (given.get("sampler") is not None or given.get("staleness")) and "sampler_correction" not in own
        found |= like.options | (like.inexact if inexact else {})
    if (name := given.get("preset")) is not None:
        known(algorithm, "preset", name, list(algorithm.presets))
        found |= algorithm.presets[name]
    return found | own


def known(algorithm: type[Algorithm], key: str, name: Any, names: list[str]) -> None:
    """Raise UserError where a method has no such name."""
    if name not in names:
        these = f"give one of {', '.join(names)}" if names else "it has none, leave it out"
        raise UserError(f"{key} {name} is not known for {algorithm.name}: {these}")


def remark(algorithm: type[Algorithm], given: dict[str, Any]) -> str:
    """What a library does that its form here does not, as a sentence; "" where there is nothing, or no library."""
    found = LIKES.get(given.get("like") or "", {}).get(algorithm.name)
    return f"like {given['like']}, but for this: {found.differs}" if found and found.differs else ""
