"""Imports what a user names on the command line as `module:name`."""

import importlib
import os
import sys
from functools import reduce
from typing import Any

from burnish.run.atomic import UserError
from burnish.run.user_code import UserCodeError, user_code


def imported(text: str, option: str, what: str = "function") -> Any:
    """Import the object `module:name`; as with `python -m`, modules in the current folder are found.

    `option` is the command-line option and `what` the kind of object, for error messages.

    Raises UserError if the module cannot be imported or has no such name.
    """
    module_name, _, attribute = text.partition(":")
    if not all(part.isidentifier() for part in [*module_name.split("."), *attribute.split(".")]):
        raise UserError(f"{option} {text} does not have the form module:{what}: write it like my_module:my_{what}")
    here = find_here()
    try:
        with user_code():
            module = importlib.import_module(module_name)
    except UserCodeError as error:
        problem, cause = str(error), error.cause
        if isinstance(cause, ModuleNotFoundError) and f"{module_name}.".startswith(f"{cause.name}."):
            problem = f"there is no module {cause.name} in {here} or among the installed packages"
        raise UserError(
            f"{option} {text} cannot be imported ({problem}): name a module that Python can import"
        ) from cause
    try:
        return reduce(getattr, attribute.split("."), module)
    except AttributeError as error:
        place = getattr(module, "__file__", None) or module_name  # a built-in module has no file
        raise UserError(f"{option} {text}: {place} has no {attribute}: name a {what} in that file") from error


def find_here() -> str:
    """Let Python find modules in the current folder, also those that come later; the folder."""
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)  # not removed later: what is imported may itself import modules from here
    importlib.invalidate_caches()
    return here
