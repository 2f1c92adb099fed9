"""`burnish data show DATA`: what the trainer will see of a data set, token by token and as counts."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import click
import torch
from transformers import PreTrainedTokenizerBase
from transformers.convert_slow_tokenizer import bytes_to_unicode

from burnish.algorithms.table import LANGUAGE, load
from burnish.batches import Preferences
from burnish.config import Settings
from burnish.config.checks import holdout_problems, refuse, rendering_problems
from burnish.data import adapters, sources, tokenise
from burnish.data.adapters import Reading
from burnish.data.encode import Encoder
from burnish.data.fit import Fitted, cut_left, fit
from burnish.data.formats import RANKED, Example
from burnish.data.holdout import Holdout
from burnish.data.names import parts as named_parts
from burnish.data.rendering import USUAL, Rendering
from burnish.data.tokenised import Response
from burnish.ends import Ends, ends_of
from burnish.experience.language.sampling import Sampling
from burnish.policies.language.adapters import source_of
from burnish.policies.language.loading import (
    PLAIN,
    Loading,
    explained,
    load_config,
    load_generation_config,
    load_tokenizer,
)
from burnish.recipes.assets import resolve_model
from burnish.recipes.data_counts import Seen, names, summary
from burnish.recipes.train.rows import BUILTIN
from burnish.run import UserError, printable

GUESSES = ("preferences", "feedback", "demonstrations", "prompts")

STYLES: dict[str, dict[str, Any]] = {
    "prompt": {"dim": True},
    "response": {"fg": "green"},
    "masked": {"fg": "yellow"},
    "EOS": {"fg": "magenta", "bold": True},
    "cut": {"fg": "red", "bold": True},
}
BYTES = {character: byte for byte, character in bytes_to_unicode().items()}
"""How byte-level vocabularies write each byte."""

MARKS = {"prompt": "{}", "response": "[{}]", "masked": "({})", "EOS": "{{{}}}", "cut": "✂{}✂"}


WHY = {
    "dropped": "some response has no response token within the limit",
    "formatting_only": "some response has only formatting tokens",
    "untrained": "no turn of some response is to be trained",
}


@dataclass(frozen=True)
class Show:
    """A data set as a method reads it with a tokenizer; shown in colours, or with marks without `colour`."""

    name: str
    kind: str
    method: str
    tokenizer: PreTrainedTokenizerBase
    max_length: int
    ends: Ends
    how: Rendering = USUAL
    colour: bool = False

    @cached_property
    def encoder(self) -> Encoder:
        return Encoder.checked(self.tokenizer, self.max_length, self.name, self.how)

    def lines(self, reading: Reading, rows: int) -> Iterable[str]:
        """The page, line by line."""
        yield printable(f"{self.name}: {reading.format} ({' + '.join(reading.columns)})")
        yield f"as `burnish {self.method}` sees it, at most {self.max_length} tokens"
        yield "  ".join(self.paint(kind, kind) for kind in MARKS)
        shown: list[Fitted] = []
        seen = Seen(Counter(rows=0))
        examples = reading.examples
        if self.kind == "prompts":
            fitted: Iterable[Fitted] = (self.prompt(example) for example in examples)
        else:
            fitted = fit(examples, self.encoder, self.max_length, self.name)
        for found in fitted:
            self.check(found.example)
            seen.add(found, self.max_length)
            if len(shown) < rows:
                shown.append(found)
        tokenise.check_options(seen.counts, self.how, self.name)
        for found in shown:
            yield ""
            yield from self.row(found)
        yield ""
        yield from map(printable, summary(seen, reading.left_out, self.kind))
        yield from self.endings()

    def check(self, one: Example) -> None:
        """Refuse a row as a run of the method with default options would."""
        if self.kind == "preferences" and (problem := self.algorithm.refuses(comparison(one), len(one.responses))):
            raise UserError(f"{self.name}: {problem}")

    @cached_property
    def algorithm(self) -> Any:
        return load(self.method)()

    def prompt(self, example: Example) -> Fitted:
        """A prompt to sample from: only its left can be cut."""
        options = [example.template_options]
        (whole,) = tokenise.prompts([example.prompt], self.tokenizer, 2**31, self.name, options, self.how)
        kept = cut_left(whole, self.max_length, self.tokenizer.bos_token_id)
        return Fitted(example, whole, [], len(kept), [Response(kept, [False] * len(kept))])

    def row(self, found: Fitted) -> Iterable[str]:
        """One row: its prompt and each of its responses on one line."""
        one = found.example
        said = [f"{name} {getattr(one, name):g}" for name in ("margin", "confidence") if getattr(one, name) is not None]
        if one.desirable is not None:
            said.append("desirable" if one.desirable else "not desirable")
        yield ", ".join([f"row {one.row}", *said])
        if not found.responses:
            yield f"  dropped: {WHY[found.dropped]}"
            return
        prompt, *labels = names(one)
        cut = [self.paint("cut", str(found.cut_prompt))] if found.cut_prompt else []
        bos = found.responses[0].tokens[: found.start]
        begin = 1 if bos and bos[0] == self.tokenizer.bos_token_id else 0
        ids = [self.paint("prompt", self.text(token)) for token in bos]
        yield f"  {prompt}: {self.joined([*ids[:begin], *cut, *ids[begin:]])}"
        for label, response, gone in zip(labels, found.responses, found.cut_responses, strict=False):
            pieces = self.response(response, found.start)
            yield f"  {label}: {self.joined([*pieces, *([self.paint('cut', str(gone))] if gone else [])])}"

    def response(self, response: Response, start: int) -> list[str]:
        pieces = []
        last = len(response.tokens) - 1
        for place, (token, trained) in enumerate(zip(response.tokens, response.mask, strict=True)):
            if place >= start:
                ends = trained and place == last and token in self.ends
                pieces.append(self.paint("EOS" if ends else "response" if trained else "masked", self.text(token)))
        return pieces

    def paint(self, kind: str, text: str) -> str:
        return click.style(text, **STYLES[kind]) if self.colour else MARKS[kind].format(text)

    def joined(self, pieces: list[str]) -> str:
        return click.style("|", dim=True).join(pieces) if self.colour else "|".join(pieces)

    def text(self, token: int) -> str:
        """A token's text on one line, with its spaces; bytes that are part of a character as `<0xE2>`."""
        piece, text = str(self.tokenizer.convert_ids_to_tokens(token)), str(self.tokenizer.decode([token]))
        if "\N{LOWER ONE EIGHTH BLOCK}" in piece:  # decoding one token alone would drop its first space
            text = piece.replace("\N{LOWER ONE EIGHTH BLOCK}", " ")
        elif not text or "\N{REPLACEMENT CHARACTER}" in text:
            known = all(character in BYTES for character in piece)
            is_byte = re.fullmatch("<0x[0-9A-F]{2}>", piece)
            text = piece if is_byte or not known else "".join(f"<0x{BYTES[character]:02X}>" for character in piece)
        return printable(text.replace("\n", "⏎").replace("\t", "⇥").replace("\r", "␍").replace(" ", "·"))

    def endings(self) -> Iterable[str]:
        """What ends a text."""
        if self.ends.ids:
            yield f"sampling stops at {', '.join(map(self.text, self.ends.ids))}"
        if self.kind != "prompts":
            trained = dict.fromkeys(self.ends.trained(talk) for talk in (bool(self.tokenizer.chat_template), False))
            yield f"training ends with {' or '.join(self.text(one) for one in trained if one is not None)}"


def data_show(
    data: str,
    method: str | None = None,
    model: str = "builtin",
    max_length: int = Settings.max_length,
    rows: int = 3,
    mask_formatting: bool = False,
    colour: bool = False,
    max_new_tokens: int | None = None,
    train_thoughts: bool = True,
    last_answer_only: bool = False,
    loading: Loading = PLAIN,
    holdout: Holdout | None = None,
) -> str:
    """The text that `burnish data show` prints; without a `method`, for the first method that can read the data.

    Of a mixture it shows each part; with a `holdout` the rows that are trained on. Prompts are cut to leave room for
    `max_new_tokens`, by default a run's. Raises UserError as a training run on these data would.
    """
    parts = [part.name for part in named_parts(data)]
    if len(parts) > 1:
        options = (model, max_length, rows, mask_formatting, colour, max_new_tokens, train_thoughts, last_answer_only)
        return "\n\n".join(data_show(part, method, *options, loading, holdout) for part in parts)
    if holdout is not None:
        refuse(holdout_problems(Settings(data=data, holdout=holdout.share)))
    tokenizer, context, ends = tokenizer_of(model, loading)
    method = method or ("dpo" if data == "builtin" else guess(sources.load(data), tokenizer, data))
    kind = load(method).data
    how = Rendering(mask_formatting, train_thoughts, last_answer_only)
    refuse(rendering_problems(load(method), how))
    dataset = BUILTIN[kind]("train") if data == "builtin" else sources.load(data)
    limit = min(max_length, context or max_length)
    if kind != "prompts" and max_new_tokens is not None:
        raise UserError(f"max_new_tokens only applies to methods that sample, and {method} does not: leave it out")
    if kind == "prompts":
        sampled = Sampling.max_new_tokens if max_new_tokens is None else max_new_tokens
        limit -= sampled
        if limit < 1:
            raise UserError(
                f"max_new_tokens {sampled} leaves no room for a prompt in {limit + sampled} tokens: make it smaller"
            )
    name = f"the built-in {kind}, train" if data == "builtin" else data
    show = Show(name, kind, method, tokenizer, limit, ends, how, colour)
    return "\n".join(show.lines(tokenise.read(kind, dataset, tokenizer, name, holdout), rows))


def comparison(one: Example) -> Preferences:
    """A row as a batch of empty texts: what a method refuses depends on its labels and their number alone."""
    shape = (1, len(one.responses), 1)
    margins, confidences = (None if x is None else torch.tensor([float(x)]) for x in (one.margin, one.confidence))
    return Preferences(
        tokens=torch.zeros(shape, dtype=torch.long),
        mask=torch.ones(shape, dtype=torch.bool),
        lengths=torch.ones(shape[:2], dtype=torch.long),
        rows=torch.tensor([one.row]),
        margins=margins,
        confidences=confidences,
    )


def guess(dataset: Any, tokenizer: PreTrainedTokenizerBase, name: str) -> str:
    """The first method that can read the columns; methods for comparisons and labels come first."""
    for kind in GUESSES:
        try:
            reading = adapters.READERS[kind](dataset, name, bool(tokenizer.chat_template), None)
        except UserError:
            continue
        preferred = ("reward" if reading.columns == RANKED else "dpo", "kto", "sft", "ppo")
        return next(one for one in (*preferred, *LANGUAGE) if one in LANGUAGE and load(one).data == kind)
    known = "`chosen` and `rejected`, `completion` and `label`, `messages`, `text` or `prompt`"
    have = ", ".join(f"`{column}`" for column in sorted(dataset.column_names))
    raise UserError(
        f"{name}: its columns are {have}, which no method reads: give {known}, or a format from docs/data_formats.md"
    )


def tokenizer_of(model: str, loading: Loading) -> tuple[PreTrainedTokenizerBase, int | None, Ends]:
    """A model's tokenizer, its context length, and what ends its texts."""
    with explained("--model", model, "a language model"):
        source = source_of(resolve_model(model), loading)
        config = load_config(source.base, source.loading)
        tokenizer = load_tokenizer(source.tokenizer, source.loading)
    generation = load_generation_config(source.base, source.loading)
    context = getattr(config.get_text_config(), "max_position_embeddings", None)
    return tokenizer, context, ends_of(tokenizer, generation, config)
