"""What a sampler's reply has to be: the weights, the model and the number of completions that were asked for."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from burnish.policies.language.policy import LanguagePolicy

FACTS = {
    "model": "the model",
    "weights_sha256": "weights with the checksum",
    "weights_version": "the weights of version",
    "tokenizer_sha256": "a tokenizer with the checksum",
    "logprobs_mode": "log-probabilities of the kind",
    "seed": "the seed",
}
STALE = ("weights_sha256", "weights_version")
"""What is wrong where a server was started again, which handing the weights over once more repairs."""

ABOVE_ZERO = 1e-6
"""What rounding may add to a log-probability of 0."""


class WrongReplyError(Exception):
    """A reply that is not what was asked for; `stale`: it came from other weights."""

    def __init__(self, problem: str, stale: bool = False) -> None:
        super().__init__(problem)
        self.stale = stale


def check_facts(reply: Any, expected: Mapping[str, Any]) -> None:
    """Raise WrongReplyError where a reply does not say of itself what is expected."""
    if not isinstance(reply, dict):
        raise WrongReplyError("gives a reply that is no object")
    for name, value in expected.items():
        found = reply.get(name)
        if found != value or type(found) is not type(value):
            said = "nothing" if found is None else short(found)
            raise WrongReplyError(f"answers with {FACTS[name]} {said} and not {short(value)}", name in STALE)


def short(value: Any) -> str:
    """A value as a sentence shows it: of a checksum the beginning."""
    text = str(value)
    return text if len(text) <= 32 else f"{text[:12]}…"


def completions(
    reply: Any, prompts: Sequence[Sequence[int]], limits: Sequence[int], policy: LanguagePolicy
) -> list[tuple[list[int], list[float]]]:
    """Ids and log-probabilities of one completion per prompt. Raises WrongReplyError for what no sampler would give."""
    choices = reply.get("choices")
    if not isinstance(choices, list) or len(choices) != len(prompts):
        count = len(choices) if isinstance(choices, list) else "no"
        raise WrongReplyError(f"gives {count} completions for {len(prompts)} prompts")
    words = policy.model.get_output_embeddings().weight.shape[0]
    found = []
    for i, (one, prompt, limit) in enumerate(zip(choices, prompts, limits, strict=True)):
        try:
            if one["index"] != i:
                raise WrongReplyError(f"gives completion {one['index']} in the place of {i}")
            if list(one["prompt_token_ids"]) != list(prompt):
                raise WrongReplyError(f"completed another prompt than number {i}")
            ids, logprobs = one["token_ids"], one["logprobs"]["token_logprobs"]
            problem = problem_of(ids, logprobs, limit, one["finish_reason"], words, policy)
        except (LookupError, TypeError) as error:
            raise WrongReplyError(f"gives no ids or log-probabilities for completion {i}") from error
        if problem:
            raise WrongReplyError(f"gives a completion {i} {problem}")
        found.append((list(ids), [float(value) for value in logprobs]))
    return found


def problem_of(ids: Any, logprobs: Any, limit: int, finish: Any, words: int, policy: LanguagePolicy) -> str | None:
    """What is wrong with a completion; None where nothing is."""
    if not isinstance(ids, list) or not isinstance(logprobs, list) or len(ids) != len(logprobs):
        return f"with {len(ids)} tokens and {len(logprobs)} log-probabilities"
    if not ids or not all(type(token) is int and 0 <= token < words for token in ids):
        return "without tokens of the vocabulary"
    if not all(isinstance(p, float | int) and math.isfinite(p) and p <= ABOVE_ZERO for p in logprobs):
        return "with log-probabilities that are none"
    ended = policy.ends.ended(ids)
    if any(token in policy.ends for token in ids[:-1]):
        return "that goes on behind its end"
    if len(ids) > limit or (not ended and len(ids) < limit):
        return f"with {len(ids)} tokens, no end, and a limit of {limit}"
    if (finish == "stop") != ended:
        return f"that finished by {finish!r} and {'has' if ended else 'lacks'} an end"
    return None
