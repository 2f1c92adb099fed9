"""A configuration made, or refused, for a built-in method by its name."""

from typing import Any

import pytest

from burnish.algorithms.table import LANGUAGE, load
from burnish.config import Settings, build
from burnish.run import UserError

ONLINE = [name for name in LANGUAGE if load(name).experience]
NEEDED: dict[str, dict[str, Any]] = {name: {"reward": "gold"} for name in ONLINE} | {"distil": {"teacher": "a"}}


def built(name: str, options: dict[str, Any]) -> tuple[Any, Settings]:
    """The method and its settings; an online method without a reward gets one."""
    return build(load(name), NEEDED.get(name, {}) | options)


def refusal(name: str, options: dict[str, Any]) -> str:
    """The one sentence that refuses these options."""
    with pytest.raises(UserError) as caught:
        built(name, options)
    assert "\n" not in str(caught.value)
    return str(caught.value)
