"""What ends a text: the one set of token ids at which sampling stops, and which of them training ends with.

A model names its ends in up to three places: its tokenizer has an EOS token, its generation configuration lists the ids
at which `generate()` stops, and its chat template writes a token after each answer of the assistant.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, wraps
from typing import Any

USER, ANSWER = "zquestionz", "zanswerz"
"""Contents of the probe conversation: no template writes these words itself."""

PROBES: tuple[list[dict[str, str]], ...] = (
    [{"role": "user", "content": USER}, {"role": "assistant", "content": ANSWER}],
    [
        {"role": "system", "content": "zsystemz"},
        {"role": "user", "content": USER},
        {"role": "assistant", "content": ANSWER},
    ],
)
"""Conversations to try in order: some templates require a system message."""

SECONDS, CHARACTERS = 3.0, 1_000_000
"""CPU time that a chat template has for a short conversation, and what it may write for one."""

LONG = 10_000_000
"""Characters, or items of a list, that one operation of a template may make of nothing."""


@dataclass(frozen=True)
class Ends:
    """The ends of a model's texts: all `ids`, and the two that training writes, None where there is no such end.

    `eos` is trained after plain text. `template` is the end that the chat template writes after an answer, trained in
    conversations; a template that writes none leaves conversations to end with `eos` too.
    """

    ids: tuple[int, ...]
    eos: int | None
    template: int | None = None

    def __contains__(self, token: object) -> bool:
        return token in self.ids

    def trained(self, conversation: bool) -> int | None:
        """The end that training writes after a conversation's answer, or after plain text."""
        return self.template if conversation and self.template is not None else self.eos

    def ended(self, tokens: Sequence[int]) -> bool:
        """Whether a completion ended by itself, rather than at a length limit."""
        return bool(tokens) and tokens[-1] in self.ids

    def without(self, tokens: Sequence[int]) -> list[int]:
        """A completion without its end."""
        return list(tokens[:-1] if self.ended(tokens) else tokens)


def ends_of(tokenizer: Any, *configs: Any, vocabulary: int | None = None) -> Ends:
    """The ends that a tokenizer, its chat template and a model's configurations name.

    `configs` are the generation configuration and, if need be, the model's own: as in `generate()`, only the first one
    with an `eos_token_id` (a number or a list) is read. Ids outside a `vocabulary` of this size are left out: the model
    can never write them. Where the tokenizer has no EOS token, `eos` is the first end of the configurations.
    """

    def usable(ids: list[int]) -> list[int]:
        return [one for one in ids if vocabulary is None or one < vocabulary]

    end = template_end(tokenizer)
    own, template = usable(listed_ends(tokenizer)), usable([] if end is None else [end])
    named = next(filter(None, (usable(listed_ends(config)) for config in configs)), [])
    first = [*own, *named, None][0]
    return Ends(tuple(dict.fromkeys(own + named + template)), first, template[0] if template else None)


def listed_ends(config: Any) -> list[int]:
    """The `eos_token_id` of a tokenizer or a configuration as a list, without entries that are no ids."""
    ids = getattr(config, "eos_token_id", None)
    return [one for one in (ids if isinstance(ids, list | tuple) else [ids]) if one is not None and one >= 0]


def template_end(tokenizer: Any) -> int | None:
    """The special token that the chat template writes after an assistant's answer; None if it writes none.

    It is the first added token behind the answer, with at most white space between them, or else the first special
    token. A token that opens an answer as well (`<|assistant|>` of a template that always ends with a generation
    prompt) is no end, unless it is the tokenizer's EOS, or an answer that a question follows has it behind it too (a
    template whose turns are a content and its end, and nothing else).
    """
    text, probe = next(((text, probe) for probe in PROBES if (text := _rendered(tokenizer, probe))), ("", []))
    before, answer, after = text.rpartition(ANSWER)
    if not answer:
        return None
    special = special_tokens(tokenizer)
    added = {str(token): number for number, token in tokenizer.added_tokens_decoder.items()}
    end = _opening(after.lstrip(), special | added) or _first(after, special)
    if end is None:
        return None
    number = (special | added)[end]
    if not before.rstrip().endswith(end) or number == tokenizer.eos_token_id:
        return number
    followed = _rendered(tokenizer, [*probe, {"role": "user", "content": USER}]).rpartition(ANSWER)[2]
    return number if followed.lstrip().startswith(end) else None


def formatting_tokens(tokenizer: Any) -> frozenset[int]:
    """The special tokens that the chat template writes around plain messages, and to ask for an answer."""
    texts = [_rendered(tokenizer, probe) for probe in PROBES]
    texts += [_rendered(tokenizer, probe[:-1], add_generation_prompt=True) for probe in PROBES]
    return frozenset(number for token, number in special_tokens(tokenizer).items() if any(token in t for t in texts))


def special_tokens(tokenizer: Any) -> dict[str, int]:
    """The ids of the special tokens by their text."""
    added = {str(token): number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return dict(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True)) | added


def _rendered(tokenizer: Any, probe: list[dict[str, str]], **options: bool) -> str:
    """The template's text for a probe; empty where the template rejects it."""
    try:
        return rendered(tokenizer, probe, **options)
    except Exception:  # there is no template, or whatever its own code raises
        return ""


class RunawayTemplateError(Exception):
    """What a chat template does without bound, as the end of a sentence about it."""


_runaways: set[str] = set()
"""Templates that have taken too long once: they are not tried again."""


def rendered(tokenizer: Any, messages: list[dict[str, Any]], **options: Any) -> str:
    """The chat template's text for `messages`. Raises RunawayTemplateError where the template writes without bound, or
    takes too long; and whatever the template raises."""
    from transformers.utils import chat_template_utils

    jinja: Any = chat_template_utils
    template = str(options.get("chat_template") or tokenizer.chat_template)
    if template in _runaways:
        raise RunawayTemplateError(f"takes more than {SECONDS:g} seconds for a row")
    size = sum(len(str(value)) for message in messages for value in message.values())
    usual = jinja.ImmutableSandboxedEnvironment
    jinja.ImmutableSandboxedEnvironment = _bounded_environment()  # where the template is compiled
    try:
        with _limited(SECONDS + size / LONG, template):
            # A batch of one, because an empty conversation alone is rejected.
            text = str(tokenizer.apply_chat_template([messages], tokenize=False, **options)[0])
    finally:
        jinja.ImmutableSandboxedEnvironment = usual
    if len(text) > CHARACTERS and len(text) > 100 * (size + len(template) + len(str(options))):
        raise RunawayTemplateError(f"writes {len(text):,} characters for a row of {size:,}")
    return text


@contextlib.contextmanager
def _limited(seconds: float, template: str) -> Iterator[None]:
    """Raise RunawayTemplateError in the block after so much CPU time; without effect outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(signum: int, frame: Any) -> None:
        _runaways.add(template)
        raise RunawayTemplateError(f"takes more than {SECONDS:g} seconds for a row")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds, 0.1)  # again and again: a library may suppress the first error
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@cache
def _bounded_environment() -> Any:
    """Jinja's sandbox, which limits `range`, with a limit on what else makes much out of nothing.

    Jinja computes constant expressions when it compiles a template, where nothing could interrupt it.
    """
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Bounded(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset({"*", "**", "%"})

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.filters |= {name: _short(self.filters[name]) for name in ("center", "format", "indent", "replace")}

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            if operator == "*" and not isinstance(left, float) and not isinstance(right, float):
                long = [len(one) if hasattr(one, "__len__") else abs(one) for one in (left, right)]
                if long[0] * long[1] > LONG and any(hasattr(one, "__len__") for one in (left, right)):
                    raise RunawayTemplateError(f"writes {long[0] * long[1]:,} characters at once")
            if operator == "**" and isinstance(left, int) and abs(right) * left.bit_length() > LONG:
                raise RunawayTemplateError("computes a number of millions of digits")
            compute = super().call_binop
            return (_short(compute) if operator == "%" else compute)(context, operator, left, right)

    return Bounded


def _short(compute: Any) -> Any:
    """The function, with an error for a text that is far longer than all that it was given."""

    @wraps(compute)
    def bounded(*given: Any, **options: Any) -> Any:
        found = compute(*given, **options)
        if isinstance(found, str) and len(found) > LONG:
            size = sum(len(one) for one in (*given, *options.values()) if isinstance(one, str))
            if len(found) > 10 * size:
                raise RunawayTemplateError(f"writes {len(found):,} characters at once")
        return found

    return bounded


def _opening(text: str, tokens: dict[str, int]) -> str | None:
    """The longest of the tokens that `text` begins with."""
    return max((token for token in tokens if token and text.startswith(token)), key=len, default=None)


def _first(text: str, tokens: dict[str, int]) -> str | None:
    """The first of the tokens in `text`, the longest one if several begin there."""
    places = [(text.find(token), -len(token), token) for token in tokens if token and token in text]
    return min(places)[2] if places else None
