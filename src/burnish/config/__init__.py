"""The configuration of a training run: one flat set of keys for YAML files, flags and Python alike.

An option that is unknown, has the wrong type, or makes no sense with another is refused before anything is loaded: none
is accepted and ignored.
"""

from burnish.config.build import algorithm_of, as_dict, build, defaults, option_types
from burnish.config.checks import checked, refuse
from burnish.config.parse import (
    ELSEWHERE,
    INSTEAD,
    construct,
    option_names,
    read_config,
    refuse_flags,
    suggestion,
    translation,
)
from burnish.config.settings import Settings

__all__ = [
    "ELSEWHERE",
    "INSTEAD",
    "Settings",
    "algorithm_of",
    "as_dict",
    "build",
    "checked",
    "construct",
    "defaults",
    "option_names",
    "option_types",
    "read_config",
    "refuse",
    "refuse_flags",
    "suggestion",
    "translation",
]
