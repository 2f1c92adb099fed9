"""`burnish data show DATA`: what the trainer will see of a data set, token by token and as counts."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import click
import numpy as np
import torch
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerBase

from burnish.algorithms.table import LANGUAGE, load
from burnish.batches import Preferences
from burnish.config import Settings
from burnish.data import adapters, encode, sources, tokenise
from burnish.data.adapters import Reading
from burnish.data.encode import Encoder, Fitted
from burnish.data.formats import RANKED, Example
from burnish.data.names import parts as named_parts
from burnish.data.partners import partners
from burnish.data.tokenised import LEFT_OUT
from burnish.experience.language.sampling import Sampling
from burnish.recipes.assets import resolve_model
from burnish.recipes.train.rows import BUILTIN
from burnish.run import UserError

QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.95, 1.0)
GUESSES = ("preferences", "feedback", "demonstrations", "prompts")

STYLES: dict[str, dict[str, Any]] = {
    "prompt": {"dim": True},
    "response": {"fg": "green"},
    "masked": {"fg": "yellow"},
    "EOS": {"fg": "magenta", "bold": True},
    "cut": {"fg": "red", "bold": True},
}
MARKS = {"prompt": "{}", "response": "[{}]", "masked": "({})", "EOS": "{{{}}}", "cut": "✂{}✂"}


@dataclass
class Seen:
    """Counts over the rows of a data set."""

    counts: Counter[str] = field(default_factory=Counter)
    lengths: dict[str, list[int]] = field(default_factory=dict)
    numbers: dict[str, list[float]] = field(default_factory=dict)
    prompts: list[bytes] = field(default_factory=list)
    rows: set[bytes] = field(default_factory=set)

    def add(self, found: Fitted, max_length: int) -> None:
        """Count one row, before and after it was cut."""
        tokenise.count(found, self.counts, max_length)
        whole = [found.prompt, *(response.tokens for response in found.whole)]
        one = hashlib.sha256(str(whole).encode()).digest()
        self.counts["duplicates"] += one in self.rows
        self.rows.add(one)
        for name, ids in zip(names(found.example), whole, strict=True):
            self.lengths.setdefault(name, []).append(len(ids))
        if len(whole) > 2:
            self.counts["longer"] += len(whole[1]) > len(whole[-1])
            self.counts["as long"] += len(whole[1]) == len(whole[-1])
        if found.responses:
            self.prompts.append(str(found.responses[0].tokens[: found.start]).encode())
        for name in ("margin", "confidence", "desirable"):
            if (number := getattr(found.example, name)) is not None:
                self.numbers.setdefault(name, []).append(float(number))


@dataclass(frozen=True)
class Show:
    """A data set as a method reads it with a tokenizer; shown in colours, or with marks without `colour`."""

    name: str
    kind: str
    method: str
    tokenizer: PreTrainedTokenizerBase
    max_length: int
    mask_formatting: bool = False
    colour: bool = False

    @cached_property
    def encoder(self) -> Encoder:
        return Encoder.checked(self.tokenizer, self.max_length, self.name)

    def lines(self, reading: Reading, rows: int) -> Iterable[str]:
        """The page, line by line."""
        yield f"{self.name}: {reading.format} ({' + '.join(reading.columns)})"
        yield f"as `burnish {self.method}` sees it, at most {self.max_length} tokens"
        yield "  ".join(self.paint(kind, kind) for kind in MARKS)
        shown: list[Fitted] = []
        seen = Seen(Counter(rows=0))
        examples = reading.examples
        if self.kind == "prompts":
            fitted: Iterable[Fitted] = (self.prompt(example) for example in examples)
        else:
            fitted = encode.fit(examples, self.encoder, self.max_length, self.name, self.mask_formatting)
        for found in fitted:
            self.check(found.example)
            seen.add(found, self.max_length)
            if len(shown) < rows:
                shown.append(found)
        for found in shown:
            yield ""
            yield from self.row(found)
        yield ""
        yield from summary(seen, reading.left_out, self.kind)

    def check(self, one: Example) -> None:
        """Refuse a row as a run of the method with default options would."""
        if self.kind == "preferences" and (problem := self.algorithm.refuses(comparison(one), len(one.responses))):
            raise UserError(f"{self.name}: {problem}")

    @cached_property
    def algorithm(self) -> Any:
        return load(self.method)()

    def prompt(self, example: Example) -> Fitted:
        """A prompt to sample from: only its left can be cut."""
        (whole,) = tokenise.prompts([example.prompt], self.tokenizer, 2**31, self.name)
        kept = encode.cut_left(whole, self.max_length, self.tokenizer.bos_token_id)
        return Fitted(example, whole, [], len(kept), [encode.Response(kept, [False] * len(kept))])

    def row(self, found: Fitted) -> Iterable[str]:
        """One row: its prompt and each of its responses on one line."""
        one = found.example
        said = [f"{name} {getattr(one, name):g}" for name in ("margin", "confidence") if getattr(one, name) is not None]
        if one.desirable is not None:
            said.append("desirable" if one.desirable else "not desirable")
        yield ", ".join([f"row {one.row}", *said])
        if not found.responses:
            why = "only formatting tokens" if found.formatting_only else "no response token within the limit"
            yield f"  dropped: some response has {why}"
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

    def response(self, response: encode.Response, start: int) -> list[str]:
        pieces = []
        last = len(response.tokens) - 1
        for place, (token, trained) in enumerate(zip(response.tokens, response.mask, strict=True)):
            if place >= start:
                ends = trained and place == last and token == self.tokenizer.eos_token_id
                pieces.append(self.paint("EOS" if ends else "response" if trained else "masked", self.text(token)))
        return pieces

    def paint(self, kind: str, text: str) -> str:
        return click.style(text, **STYLES[kind]) if self.colour else MARKS[kind].format(text)

    def joined(self, pieces: list[str]) -> str:
        return click.style("|", dim=True).join(pieces) if self.colour else "|".join(pieces)

    def text(self, token: int) -> str:
        """A token's text on one line; a part of a character as the vocabulary writes it."""
        text = str(self.tokenizer.decode([token]))
        if not text or "\N{REPLACEMENT CHARACTER}" in text:
            text = str(self.tokenizer.convert_ids_to_tokens(token))
        return text.replace("\n", "⏎").replace("\t", "⇥").replace(" ", "·")


def names(example: Example) -> tuple[str, ...]:
    """The names of a row's prompt and responses."""
    count = len(example.responses)
    if count < 2:
        return ("prompt", "response")[: count + 1]
    if count == 2:
        return ("prompt", "chosen", "rejected")
    return ("prompt", *(f"response {place}" for place in range(1, count + 1)))


def summary(seen: Seen, left_out: Counter[str], kind: str) -> Iterable[str]:
    """Counts, and lengths before cutting."""
    counts = seen.counts + left_out
    if kind == "prompts":
        yield f"{counts['rows']:,} prompts, {counts['truncated_prompts']:,} cut on the left"
    else:
        yield f"{counts['used']:,} of {counts['rows']:,} rows used"
        always = (
            "dropped",
            "truncated_prompts",
            "truncated_responses",
            *(["equal"] if "rejected" in seen.lengths else []),
        )
        yield from (f"{counts[key]:,} {words}" for key, words in LEFT_OUT.items() if counts[key] or key in always)
    yield f"{counts['duplicates']:,} rows that repeat an earlier one"
    if len(seen.prompts) > 1 and kind == "feedback":
        found = partners(seen.prompts)
        same = sum(seen.prompts[i] == seen.prompts[j] for i, j in enumerate(found))
        yield f"{same:,} rows whose other response, of another row, answers the same prompt"
    if "rejected" in seen.lengths:
        pairs = len(seen.lengths["rejected"])
        longer, equally = counts["longer"] / pairs, counts["as long"] / pairs
        yield f"chosen is longer than rejected in {longer:.0%} of rows, as long in {equally:.0%}"
    if labels := seen.numbers.get("desirable"):
        yield f"{sum(labels):,.0f} desirable, {len(labels) - sum(labels):,.0f} not"
    heads = ("", "least", "25 %", "half", "75 %", "95 %", "most")
    yield "".join(f"{head:>12}" if head else f"{'tokens':<12}" for head in heads)
    tables: list[tuple[str, list[Any], Callable[[float], str]]] = [
        (name, values, lambda x: f"{x:.0f}") for name, values in seen.lengths.items()
    ]
    tables += [(name, values, lambda x: f"{x:.3g}") for name, values in seen.numbers.items() if name != "desirable"]
    for name, values, write in tables:
        found_quantiles = np.quantile(np.array(values, dtype=float), QUANTILES, method="inverted_cdf")
        yield f"{name:<12}" + "".join(f"{write(x):>12}" for x in found_quantiles)


def data_show(
    data: str,
    method: str | None = None,
    model: str = "builtin",
    max_length: int = Settings.max_length,
    rows: int = 3,
    mask_formatting: bool = False,
    colour: bool = False,
    max_new_tokens: int | None = None,
) -> str:
    """The text that `burnish data show` prints; without a `method`, for the first method that can read the data.

    Of a mixture it shows each part. Prompts are cut to leave room for `max_new_tokens`, by default a run's. Raises
    UserError as a training run on these data would.
    """
    parts = [part.name for part in named_parts(data)]
    if len(parts) > 1:
        options = (model, max_length, rows, mask_formatting, colour, max_new_tokens)
        return "\n\n".join(data_show(part, method, *options) for part in parts)
    tokenizer, context = tokenizer_of(model)
    method = method or ("dpo" if data == "builtin" else guess(sources.load(data), tokenizer, data))
    kind = load(method).data
    if mask_formatting and (kind not in ("preferences", "feedback") or "scorer" in load(method).roles):
        raise UserError(f"mask_formatting does not apply to {method}: leave it out")
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
    show = Show(name, kind, method, tokenizer, limit, mask_formatting, colour)
    return "\n".join(show.lines(tokenise.read(kind, dataset, tokenizer, name), rows))


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
            reading = adapters.READERS[kind](dataset, name, bool(tokenizer.chat_template))
        except UserError:
            continue
        preferred = ("reward" if reading.columns == RANKED else "dpo", "kto", "sft", "ppo")
        return next(one for one in (*preferred, *LANGUAGE) if one in LANGUAGE and load(one).data == kind)
    known = "`chosen` and `rejected`, `completion` and `label`, `messages`, `text` or `prompt`"
    have = ", ".join(f"`{column}`" for column in sorted(dataset.column_names))
    raise UserError(
        f"{name}: its columns are {have}, which no method reads: give {known}, or a format from docs/data_formats.md"
    )


def tokenizer_of(model: str) -> tuple[PreTrainedTokenizerBase, int | None]:
    """A model's tokenizer, and its context length."""
    name = resolve_model(model)
    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
        config = AutoConfig.from_pretrained(name)
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise UserError(f"--model {model} has no tokenizer that can be loaded ({reason})") from error
    return tokenizer, getattr(config.get_text_config(), "max_position_embeddings", None)
