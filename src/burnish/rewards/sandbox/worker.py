"""The process of checks that may take for ever or need all memory: regular expressions, JSON schemas, mathematics.

It reads requests as lines of JSON and writes a line for each. A check that needs more than its seconds of CPU time ends
the process: the limit holds inside C code too. Where the kernel can, the process is confined first, since some checkers
evaluate what they are given.
"""

import json
import os
import re
import resource
import signal
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

from .confine import confine, folders, missing

MEMORY = 4 * 2**30

Check = Callable[[dict[str, Any]], float]


def regex(request: dict[str, Any]) -> float:
    """1 where the pattern is found in the text, or with `whole` where it is all of the text but white space."""
    pattern = re.compile(request["pattern"], re.DOTALL if request["whole"] else 0)
    text = request["text"]
    return float(bool(pattern.fullmatch(text.strip()) if request["whole"] else pattern.search(text)))


def json_schema(request: dict[str, Any]) -> float:
    """1 where the text is JSON that is valid by the schema."""
    try:
        found = json.loads(request["text"], parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        return 0.0
    return float(validator(json.dumps(request["schema"])).is_valid(found))


def refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


@cache
def validator(schema: str) -> Any:
    from jsonschema.validators import validator_for

    read = json.loads(schema)
    return validator_for(read)(read)


def math(request: dict[str, Any]) -> float:
    """1 where the text's mathematical answer is equivalent to the row's, by math-verify."""
    from math_verify import parse, verify

    answer = request["answer"]
    marked = answer if "$" in answer or "\\boxed" in answer else f"${answer}$"
    gold = parse(marked, parsing_timeout=None) or parse(answer, parsing_timeout=None)
    if not gold:
        return float("nan")
    return float(verify(gold, parse(request["text"], parsing_timeout=None), timeout_seconds=None))


def gym(request: dict[str, Any]) -> float:
    """reasoning_gym's own score of the text, 0 to 1; `entry` is its row: question, answer, metadata and options."""
    entry = request["entry"]
    options = json.dumps(entry.get("options") or {}, sort_keys=True)
    return float(gym_task(request["task"], options).score_answer(request["text"].strip(), entry))


@cache
def gym_task(name: str, options: str) -> Any:
    from reasoning_gym.factory import create_dataset

    return create_dataset(name, size=2**31 - 1, seed=0, **json.loads(options))


CHECKS: dict[str, Check] = {"regex": regex, "json-schema": json_schema, "math": math, "gym": gym}

NEEDED = {"json-schema": "jsonschema", "math": "math_verify", "gym": "reasoning_gym.factory"}
"""What is imported before the process is confined."""


def main() -> None:
    """Answer requests of the kind in the first argument until the input ends."""
    kind = sys.argv[1]
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # nobody reads what libraries complain about
    try:
        check = CHECKS[kind]
        if kind in NEEDED:
            __import__(NEEDED[kind])
        if not missing():
            confine([*folders(), *filter(os.path.exists, sys.path)], resource.RLIM_INFINITY, MEMORY)
        begun = "ready"
    except Exception as error:
        begun = f"{type(error).__name__}: {error}"
    sys.stdout.write(json.dumps(begun) + "\n")
    sys.stdout.flush()
    for line in sys.stdin:
        request = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, request["seconds"])
        try:
            found: dict[str, Any] = {"score": check(request)}
        except Exception as error:  # of a text that a checker cannot read
            found = {"score": 0.0, "error": f"{type(error).__name__}: {error}"[:200]}
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()
