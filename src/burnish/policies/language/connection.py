"""The conversation with `burnish serve`: weights are handed over, completions are asked for, and replies are checked.

Nothing here reads the weights of a policy, so that another thread may talk while the policy learns.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from burnish.policies.interface import SamplerError, SamplingKnobs, Wanted
from burnish.policies.language.fingerprint import tokenizer_hash
from burnish.policies.language.handed import write_weights
from burnish.policies.language.policy import LanguagePolicy
from burnish.policies.language.replies import WrongReplyError, check_facts, completions
from burnish.run import UserError, without_keys
from burnish.run.web import FailedRequestError, Peer, api, endpoint, request

KEY = "BURNISH_SERVER_TOKEN"
"""Environment variable with the token that a server demands, and that its clients send."""

SAMPLER = Peer("the sampler", "--sampler", KEY)
LOAD = "load_model"
ROWS_PER_REQUEST, TOKENS_PER_REQUEST = 512, 2**20
"""The most completions of a request, and the most tokens of their prompts and themselves: below what a server takes."""

NEEDED = ("id", "weights_sha256", "weights_version", "tokenizer_sha256", "logprobs_mode", "dtype", "ends")
"""What a server has to say of its model."""

T = TypeVar("T")


@dataclass(frozen=True)
class Handed:
    """Weights that are handed over: their checksum, their version, and the tensors, which are asked for when needed."""

    sha256: str
    version: int
    tensors: Callable[[], Mapping[str, Tensor]]


class Connection:
    """The server at `url`, whose replies have to fit the policy's tokenizer, vocabulary and context.

    Weights are written to `folder`, which the server has to see under the same path, and removed once they are loaded;
    None: to a temporary folder. A request may take `timeout` seconds and is sent up to `tries` times, with pauses that
    start at `pause` seconds and double. `server` is what the server says of its model, see `greeted`.
    """

    def __init__(
        self, policy: LanguagePolicy, url: str, folder: Path | None, timeout: float, tries: int, pause: float
    ) -> None:
        self.policy, self.folder = policy, folder
        self.timeout, self.tries, self.pause = timeout, tries, pause
        self.url = api(url, SAMPLER, "/completions")
        self.shown = without_keys(self.url)
        self.server: dict[str, Any] = {}

    @property
    def in_time(self) -> float:
        """Seconds in which a server says what it is."""
        return min(self.timeout, 60.0)

    def listed(self) -> dict[str, Any]:
        """What the server lists of its one model; nothing where it has none, or several. Raises UserError where it does
        not answer."""
        try:
            listed = request(endpoint(self.url, "models"), self.in_time, SAMPLER)
        except FailedRequestError as error:
            raise UserError(
                f"the sampler at {self.shown} does not respond ({error}): start `burnish serve`, or correct --sampler"
            ) from error
        found = listed.get("data") if isinstance(listed, dict) else None
        one = found[0] if isinstance(found, list) and len(found) == 1 else None
        return one if isinstance(one, dict) else {}

    def greeted(self) -> dict[str, Any]:
        """What the server says of its one model. Raises UserError where that cannot sample for the policy."""
        one = self.listed()
        if not all(key in one for key in NEEDED) or not is_typed(one):
            raise UserError(
                f"the server at {self.shown} does not say which weights it has, so it cannot be trusted as a sampler: "
                "start one with `burnish serve`, or vLLM with one model"
            )
        if one["tokenizer_sha256"] != tokenizer_hash(self.policy.tokenizer):
            raise UserError(f"the sampler at {self.shown} has another tokenizer than the model: serve the same model")
        if sorted(one["ends"]) != sorted(self.policy.ends.ids):
            raise UserError(
                f"the sampler at {self.shown} ends texts at the ids {one['ends']} and the model at "
                f"{sorted(self.policy.ends.ids)}: serve the same model"
            )
        if one.get("max_model_len") not in (None, self.policy.context):
            raise UserError(
                f"the sampler at {self.shown} has a context of {one['max_model_len']} tokens and the model "
                f"{self.policy.context}: serve the same model"
            )
        return one

    def expected(self, handed: Handed) -> dict[str, Any]:
        """What a reply has to say of itself after these weights were handed over."""
        named = {name: self.server[name] for name in ("tokenizer_sha256", "logprobs_mode")}
        weights = {"weights_sha256": handed.sha256, "weights_version": handed.version}
        return {"model": self.server["id"]} | weights | named

    def hand_over(self, handed: Handed) -> None:
        """Have the server load the weights, through the folder unless it has them."""
        body = {"weights_version": handed.version, "weights_sha256": handed.sha256}
        url = endpoint(self.url, LOAD)

        def answered(reply: Any) -> None:
            check_facts(reply, self.expected(handed))

        def has_them(reply: Any) -> bool:
            return reply["data"][0]["weights_sha256"] == handed.sha256

        try:
            there = has_them(request(endpoint(self.url, "models"), self.timeout, SAMPLER))
        except (FailedRequestError, UserError, LookupError, TypeError):  # it is asked once more below
            there = False
        if there:
            self.ask(url, body, answered, handed)
            return
        with place_for_weights(self.folder) as folder:
            write_weights(folder, handed.tensors(), handed.sha256)
            self.ask(url, body | {"path": str(folder.resolve())}, answered, handed)

    def asked(self, handed: Handed, wanted: Wanted, limits: Sequence[int]) -> list[tuple[list[int], list[float]]]:
        """Ids and log-probabilities of one completion per prompt, of so many rows at a time."""
        found, knobs = [], wanted.knobs
        expected = self.expected(handed) | {"seed": knobs.seed}
        for part in parts_of(wanted.prompts, knobs.max_new_tokens):
            prompts = [list(prompt) for prompt in wanted.prompts[part]]

            def read(reply: Any, prompts: Any = prompts, part: Any = part) -> Any:
                check_facts(reply, expected)
                return completions(reply, prompts, limits[part], self.policy)

            body = body_of(self.server["id"], prompts, wanted.streams[part], knobs)
            found += self.ask(endpoint(self.url, "completions"), body, read, handed)
        return found

    def ask(self, url: str, body: dict[str, Any], read: Callable[[Any], T], handed: Handed, empty: bool = False) -> T:
        """What `read` makes of the reply, which may be `empty`. Raises SamplerError where no try gives one that it
        accepts."""
        problem = ""
        for attempt in range(self.tries):
            if attempt:
                time.sleep(self.pause * 2 ** (attempt - 1))
            try:
                return read(request(url, self.timeout, SAMPLER, body, empty))
            except FailedRequestError as error:
                problem = f"does not answer ({error})" if not error.answered else f"refuses a request ({error})"
                if not error.again:
                    raise self.failed(problem) from error
            except WrongReplyError as error:
                problem = str(error)
                if error.stale and attempt + 1 < self.tries and url != endpoint(self.url, LOAD):
                    self.hand_over(handed)  # as after a restart of the server
            except SamplerError:
                raise
            except UserError as error:
                raise SamplerError(str(error)) from error
        raise self.failed(f"{problem}, {self.tries} times")

    def failed(self, problem: str) -> SamplerError:
        return SamplerError(f"the sampler at {self.shown} {problem}: look at the server, and start it again")


def body_of(model: str, prompts: Sequence[list[int]], streams: Sequence[int], knobs: SamplingKnobs) -> dict[str, Any]:
    """A request for one completion per prompt."""
    body: dict[str, Any] = {
        "model": model,
        "prompt": prompts,
        "streams": list(streams),
        "seed": knobs.seed,
        "max_tokens": knobs.max_new_tokens,
        "temperature": knobs.temperature,
        "logprobs": 0,
        "return_token_ids": True,
    }
    body |= {} if knobs.top_k is None else {"top_k": knobs.top_k}
    return body | ({} if knobs.top_p is None else {"top_p": knobs.top_p})


@contextmanager
def place_for_weights(folder: Path | None) -> Iterator[Path]:
    """The folder, or a temporary one, which is removed afterwards. Raises SamplerError where none can be made."""
    try:
        found = Path(tempfile.mkdtemp(prefix="burnish-")) if folder is None else folder
    except OSError as error:
        raise SamplerError(
            f"there is no place for the sampler's weights ({error}): make room in the temporary folder"
        ) from error
    try:
        yield found
    finally:
        shutil.rmtree(found, ignore_errors=True)


def parts_of(prompts: Sequence[Sequence[int]], limit: int) -> Iterator[slice]:
    """Which prompts to send together, with completions of up to `limit` tokens: as many as a request may have."""
    first, tokens = 0, 0
    for i, prompt in enumerate(prompts):
        more = len(prompt) + limit
        if i > first and (i - first == ROWS_PER_REQUEST or tokens + more > TOKENS_PER_REQUEST):
            yield slice(first, i)
            first, tokens = i, 0
        tokens += more
    if first < len(prompts):
        yield slice(first, len(prompts))


def is_typed(one: Mapping[str, Any]) -> bool:
    """Whether a server describes its model with ids and dtypes that exist."""
    others = one.get("other_dtypes") or {}
    kinds = [one["dtype"], *(others.values() if isinstance(others, dict) else [None])]
    known = all(isinstance(kind, str) and isinstance(getattr(torch, kind, None), torch.dtype) for kind in kinds)
    return known and isinstance(one["ends"], list) and all(isinstance(token, int) for token in one["ends"])
