"""The served model: it draws the completions that requests ask for, one request after the other."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from burnish.data import tokenise
from burnish.policies.language.decode import Decoder
from burnish.policies.language.fingerprint import hash_of, tokenizer_hash
from burnish.policies.language.handed import fitted, load_weights, read_weights, tensors_of, weights_sha256
from burnish.policies.language.policy import LanguagePolicy
from burnish.policies.language.reference import hash_tensors
from burnish.policies.language.sampler import check_knobs, in_parts, limits_of
from burnish.policies.language.slots import Drawing, Row, steps
from burnish.policies.language.stops import Stops
from burnish.recipes.serve.requests import Asked, BadRequestError
from burnish.run import UserError

UNFINISHED = "\N{REPLACEMENT CHARACTER}"
ROWS_AT_ONCE = 256
MODE, OWN = "processed_logprobs", "raw_logprobs"
"""vLLM's words for what the log-probabilities are: those of the distribution that tokens were drawn from, behind
temperature, top-k and top-p; or where alternatives are asked for, those of the model's own."""


class StoppedError(Exception):
    """The server is being stopped."""


class GoneError(Exception):
    """Nobody waits for the reply any more."""


@dataclass(frozen=True)
class Piece:
    """What a completion got in one step: a token with its log-probability, the text that is certain now, and why it
    ended, if it did: "stop" or "length", with the stop text or id, if it was one. `likeliest` as in `slots.Row`."""

    index: int
    token: int
    logprob: float
    text: str
    finish: str | None = None
    reason: str | int | None = None
    likeliest: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Choice:
    """A whole completion."""

    index: int
    tokens: list[int]
    logprobs: list[float]
    text: str
    finish: str
    reason: str | int | None
    likeliest: Sequence[Mapping[int, float]] = ()


@dataclass(frozen=True)
class Reply:
    """The ids of the prompts, of each `n` completions, and the weights that they came from, see `Engine.facts`."""

    prompts: list[list[int]]
    choices: list[Choice]
    facts: dict[str, Any]


class Engine:
    """A policy, and the one thread that uses it."""

    def __init__(self, policy: LanguagePolicy, name: str) -> None:
        self.policy, self.name, self.version = policy, name, 0
        self.decoder = Decoder.of(policy)
        self.sha256 = weights_sha256(policy.model)
        self.tokenizer_sha256 = tokenizer_hash(policy.tokenizer)
        self.stopping = threading.Event()
        self.worker = ThreadPoolExecutor(1, "sampler")
        self.names: dict[int, str] = {}

    def called(self, token: int) -> str:
        """The text of a token alone."""
        if token not in self.names:
            self.names[token] = str(self.policy.tokenizer.decode([token], clean_up_tokenization_spaces=False))
        return self.names[token]

    def facts_for(self, asked: Asked) -> dict[str, Any]:
        """The facts, with what the log-probabilities of this request are."""
        return self.facts | {"logprobs_mode": OWN if asked.alternatives else MODE}

    @property
    def facts(self) -> dict[str, Any]:
        """What every reply says of the weights that it came from."""
        return {
            "model": self.name,
            "weights_sha256": self.sha256,
            "weights_version": self.version,
            "tokenizer_sha256": self.tokenizer_sha256,
            "logprobs_mode": MODE,
        }

    def described(self) -> dict[str, Any]:
        """The model as `/v1/models` lists it."""
        policy, template = self.policy, self.policy.tokenizer.chat_template
        dtypes = {name: str(t.dtype).removeprefix("torch.") for name, t in tensors_of(policy.model).items()}
        dtype = str(policy.model.dtype).removeprefix("torch.")
        return self.facts | {
            "id": self.name,
            "object": "model",
            "created": 0,
            "owned_by": "burnish",
            "dtype": dtype,
            "other_dtypes": {name: other for name, other in dtypes.items() if other != dtype},
            "precision": policy.precision,
            "max_model_len": policy.context,
            "ends": sorted(policy.ends.ids),
            "chat_template": bool(template),
            "chat_template_sha256": hash_of(template),
        }

    def load(self, folder: str | None, version: int, sha256: str | None) -> dict[str, Any]:
        """Sample with the weights in `folder` from now on, under this version; without one, with those that are there.

        Raises UserError where they do not fit, and BadRequestError where they are not those of the checksum; then
        nothing has changed.
        """
        model = self.policy.model
        if folder is not None:
            tensors = fitted(model, read_weights(Path(folder)))
            self.check(f"the weights in {folder}", hash_tensors(tensors), sha256)
            self.sha256 = ""  # of no weights, should the copying break off
            load_weights(model, tensors)
            self.sha256 = weights_sha256(model)
        self.check("the weights in use", self.sha256, sha256)
        self.version = version
        return self.facts

    def check(self, which: str, found: str, sha256: str | None) -> None:
        if sha256 not in (None, found):
            raise BadRequestError(
                f"{which} have the checksum {found[:12]}… in this server, and not {str(sha256)[:12]}… as was asked for",
                "weights_sha256",
            )

    def complete(self, asked: Asked, gone: threading.Event | None = None) -> Reply:
        """All completions of a request. Raises GoneError once the event says that nobody waits for them."""
        gone = gone or threading.Event()
        self.check_wanted(gone)
        prompts = self.ids(asked)
        drawn: dict[int, list[Piece]] = {}
        for piece in self.pieces(asked, prompts, gone):
            drawn.setdefault(piece.index, []).append(piece)
        choices = [
            Choice(
                index,
                [one.token for one in pieces],
                [one.logprob for one in pieces],
                "".join(one.text for one in pieces),
                pieces[-1].finish or "length",
                pieces[-1].reason,
                [one.likeliest for one in pieces],
            )
            for index, pieces in sorted(drawn.items())
        ]
        return Reply(prompts, choices, self.facts_for(asked))

    def check_wanted(self, gone: threading.Event) -> None:
        """Raise what ends the drawing of a reply, if there is something."""
        if self.stopping.is_set():
            raise StoppedError
        if gone.is_set():
            raise GoneError

    def ids(self, asked: Asked) -> list[list[int]]:
        """The prompts' ids, none of them cut. Raises UserError for a conversation where there is no chat template."""
        tokenizer = self.policy.tokenizer
        if asked.kind == "chat" and not tokenizer.chat_template:
            raise UserError(f"{self.name} has no chat template: send its text to /v1/completions")
        found = []
        for prompt in asked.prompts:
            whole = isinstance(prompt, list) and isinstance(prompt[0], int)
            found.append(prompt if whole else tokenise.prompts([prompt], tokenizer, 2**31, "the request")[0])
        for token in asked.stop_tokens:
            self.policy.check_token(token, "stop_token_ids")
        return found

    def pieces(self, asked: Asked, prompts: list[list[int]], gone: threading.Event) -> Iterator[Piece]:
        """The completions of a request as they grow, for as long as somebody waits for them."""
        policy = self.policy
        check_knobs(asked.max_tokens, asked.temperature, asked.top_k, asked.top_p)
        limits = limits_of(policy, prompts, asked.max_tokens)
        repeated = [(p, limit) for p, limit in zip(prompts, limits, strict=True) for _ in range(asked.n)]
        rows = [Row(p, limit, s) for (p, limit), (_, s) in zip(repeated, asked.rows, strict=True)]
        stops = Stops(asked.stop, policy.tokenizer, asked.stop_tokens)
        told = [TextPieces(self.decoder, row.prompt, asked, stops) for row in rows]
        place = {id(row): i for i, row in enumerate(rows)}
        drawing = Drawing(asked.seed, asked.temperature, asked.top_k, asked.top_p, asked.alternatives)
        for same in in_parts(policy, rows):
            for running in steps(
                policy, same, drawing, ROWS_AT_ONCE, lambda row: stops.reached(row.prompt, row.tokens)
            ):
                self.check_wanted(gone)
                for row in running:
                    i = place[id(row)]
                    yield told[i].next(i, row)

    def stream(self, asked: Asked) -> "Stream":
        """The completions of a request as they grow, drawn as fast as the model can, however slowly they are read."""
        found = Stream()

        def produce() -> None:
            try:
                self.check_wanted(found.enough)
                prompts = self.ids(asked)
                for piece in self.pieces(asked, prompts, found.enough):
                    if not found.began:  # now nothing is wrong with the request
                        found.begin(prompts, self.facts_for(asked))
                    found.queue.put(piece)
                found.queue.put(None)
            except Exception as error:
                found.queue.put(error)

        self.worker.submit(produce)
        return found

    def close(self) -> None:
        """End what is being drawn, and the thread."""
        self.stopping.set()
        self.worker.shutdown(cancel_futures=True)


class Stream:
    """Completions that another thread draws: `head` waits for the first token, `pieces` for each one."""

    def __init__(self) -> None:
        self.queue: SimpleQueue[Any] = SimpleQueue()
        self.enough, self.began = threading.Event(), False

    def begin(self, prompts: list[list[int]], facts: dict[str, Any]) -> None:
        self.began = True
        self.queue.put((prompts, facts))

    def next(self) -> Any:
        if isinstance(found := self.queue.get(), Exception):
            raise found
        return found

    def head(self) -> tuple[list[list[int]], dict[str, Any]]:
        """The ids of the prompts, and the facts of the weights. Raises what is wrong with the request."""
        return self.next()

    def pieces(self) -> Iterator[Piece]:
        """The pieces, after `head`; whoever stops reading ends the drawing."""
        try:
            while (found := self.next()) is not None:
                yield found
        finally:
            self.enough.set()


class TextPieces:
    """The text of a completion in the making, in pieces that nothing later takes back.

    Bytes that are no character yet wait, and so does what may be the beginning of a stop text. Unless it is read
    `live`, all of the text comes with the last token.
    """

    def __init__(self, decoder: Decoder, prompt: Any, asked: Asked, stops: Stops) -> None:
        self.decoder, self.prompt, self.stops = decoder, prompt, stops
        self.alone, self.live = asked.kind == "chat", asked.streamed
        self.said = ""
        self.held = max((len(text) for text in stops.texts), default=1) - 1

    def next(self, index: int, row: Row) -> Piece:
        """The newest token of a row as a piece."""
        ids, ends = row.tokens, self.decoder.ends
        by_id = ids[-1] in self.stops.tokens
        cut = None
        if self.stops.texts and not by_id and self.stops.reached(row.prompt, ids):
            cut = self.stops.cut(row.prompt, ends.without(ids))
        stopped = by_id or cut is not None or ids[-1] in ends
        finish = "stop" if stopped else "length" if len(ids) == row.limit else None
        if finish is None and not self.live:
            return piece(index, row)
        whole = self.text(cut.tokens) + cut.rest if cut else self.text(ids[:-1] if by_id else ids)
        if finish is None:
            if whole.endswith(UNFINISHED):
                return piece(index, row)
            whole = whole[: len(whole) - self.held] if self.held else whole
        new = whole[len(self.said) :]
        self.said += new
        reason = cut.stop if cut else ids[-1] if by_id else None
        return piece(index, row, new, finish, reason)

    def text(self, ids: list[int]) -> str:
        """The text of these ids, as it goes on behind the prompt: alone, some tokenizers leave out the first space."""
        if self.alone:
            return self.decoder.responses([ids])[0]
        before, whole = self.decoder.texts([self.prompt] * 2, [[], ids])
        return whole[len(before) :] if whole.startswith(before) else self.decoder.responses([ids])[0]


def piece(index: int, row: Row, text: str = "", finish: str | None = None, reason: str | int | None = None) -> Piece:
    """The newest token of a row, with the text that it makes certain."""
    token, likeliest = row.tokens[-1], row.likeliest[-1] if row.likeliest else {}
    return Piece(index, token, likeliest.get(token, row.logprobs[-1]), text, finish, reason, likeliest)
