"""A sampler behind a server: `burnish serve`, in this machine or another.

After every update it is given the policy's weights, and nothing that it answers is taken on trust: what its reply says
of itself is compared with what it was given, its completions with what was asked for, and its log-probabilities with
the policy's own (`handshake`).
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from burnish.policies.interface import Sampled, SamplerError, SamplingKnobs
from burnish.policies.language.fingerprint import tokenizer_hash
from burnish.policies.language.handed import weights_of, write_weights
from burnish.policies.language.handshake import bound_for, difference, probe
from burnish.policies.language.policy import LanguagePolicy
from burnish.policies.language.reference import hash_tensors
from burnish.policies.language.replies import WrongReplyError, check_facts, completions
from burnish.policies.language.sampler import check_knobs, limits_of
from burnish.run import UserError, without_keys
from burnish.run.web import FailedRequestError, Peer, api, endpoint, request
from burnish.run.world import ALONE, World

KEY = "BURNISH_SERVER_TOKEN"
"""Environment variable with the token that a server demands, and that its clients send."""

SAMPLER = Peer("the sampler", "--sampler", KEY)
LOAD = "load_model"
ROWS_PER_REQUEST, TOKENS_PER_REQUEST = 512, 2**20
"""The most completions of a request, and the most tokens of their prompts and themselves: below what a server takes."""

NEEDED = ("id", "weights_sha256", "weights_version", "tokenizer_sha256", "logprobs_mode", "dtype", "ends")
"""What a server has to say of its model."""

T = TypeVar("T")


class ServedSampler:
    """The sampler at `url`, for a policy.

    Weights are handed over in `folder`, which the server has to see under the same path, and removed once they are
    loaded; None: in a temporary folder. A request may take `timeout` seconds and is sent up to `tries` times, with
    pauses that start at `pause` seconds and double. `bound` is the largest difference of a log-probability; None: by
    the dtypes, see `bound_for`. With `scoring` every completion is scored by the policy as soon as it is there, unless
    top-k or top-p shaped it; else that is left to `compare`. Raises UserError where there is no such server, or it has
    another tokenizer.
    """

    exact = False

    def __init__(
        self,
        policy: LanguagePolicy,
        url: str,
        folder: Path | None = None,
        *,
        timeout: float = 600.0,
        tries: int = 3,
        pause: float = 1.0,
        bound: float | None = None,
        world: World = ALONE,
        scoring: bool = False,
    ) -> None:
        self.policy, self.folder, self.world, self.scoring = policy, folder, world, scoring
        self.timeout, self.tries, self.pause = timeout, tries, pause
        self.url = api(url, SAMPLER, "/completions")
        self.shown = without_keys(self.url)
        self.server: dict[str, Any] = world.from_main(self.greeted)
        self.bound = bound_for(self.server, policy) if bound is None else bound
        self.expected: dict[str, Any] = {}
        self.version = -1

    def greeted(self) -> dict[str, Any]:
        """What the server says of its one model. Raises UserError where that cannot sample for the policy."""
        try:
            listed = request(endpoint(self.url, "models"), min(self.timeout, 60.0), SAMPLER)
        except FailedRequestError as error:
            raise UserError(
                f"the sampler at {self.shown} does not respond ({error}): start `burnish serve`, or correct --sampler"
            ) from error
        found = listed.get("data") if isinstance(listed, dict) else None
        one = found[0] if isinstance(found, list) and len(found) == 1 else None
        if not isinstance(one, dict) or not all(key in one for key in NEEDED) or not is_typed(one):
            raise UserError(
                f"the server at {self.shown} does not say which weights it has, so it cannot be trusted as a sampler: "
                "start one with `burnish serve`"
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

    def load(self, weights: Mapping[str, Tensor], version: int) -> None:
        """Hand over the policy's weights as they are now, and compare a few tokens that are sampled with them.

        `weights` are the trained ones, which are in the policy already; its others are handed over with them. Raises
        SamplerError where the server does not load them, or samples with others.
        """
        tensors = self.sent()
        named = {name: self.server[name] for name in ("tokenizer_sha256", "logprobs_mode")}
        self.expected = {"model": self.server["id"], "weights_sha256": hash_tensors(tensors)} | named
        self.expected["weights_version"] = self.version = version
        self.world.from_main(lambda: self.hand_over(tensors))
        prompts, streams, knobs = probe(self.policy, version)
        self.score(prompts, self.drawn(prompts, streams, knobs), knobs, "a probe")

    def sent(self) -> dict[str, Tensor]:
        """The policy's weights in the server's dtypes."""
        kinds: dict[str, str] = self.server.get("other_dtypes") or {}
        others = {name: getattr(torch, kind) for name, kind in kinds.items()}
        return weights_of(self.policy, getattr(torch, self.server["dtype"]), others)

    def hand_over(self, tensors: Mapping[str, Tensor]) -> None:
        """Have the server load the weights, through the folder unless it has them."""
        body = {"weights_version": self.version, "weights_sha256": self.expected["weights_sha256"]}
        url = endpoint(self.url, LOAD)

        def answered(reply: Any) -> None:
            check_facts(reply, self.expected)

        def has_them(reply: Any) -> bool:
            return reply["data"][0]["weights_sha256"] == self.expected["weights_sha256"]

        try:
            there = has_them(request(endpoint(self.url, "models"), self.timeout, SAMPLER))
        except (FailedRequestError, UserError, LookupError, TypeError):  # it is asked once more below
            there = False
        if there:
            self.ask(url, body, answered)
            return
        with place_for_weights(self.folder) as folder:
            write_weights(folder, tensors, self.expected["weights_sha256"])
            self.ask(url, body | {"path": str(folder.resolve())}, answered)

    def sample(self, prompts: Sequence[Sequence[int]], streams: Sequence[int], knobs: SamplingKnobs) -> Sampled:
        """One completion per prompt, as the policy's own sampler draws them from these random streams."""
        found = self.drawn(prompts, streams, knobs)
        if self.scoring and knobs.top_k is None and knobs.top_p is None:
            self.score(prompts, found, knobs, f"{len(prompts)} completions")
        return found

    def score(self, prompts: Sequence[Sequence[int]], found: Sampled, knobs: SamplingKnobs, where: str) -> None:
        """Raise SamplerError where completions are not the policy's."""
        self.policy.dropout(False)
        apart = difference(self.policy, prompts, found, knobs.temperature, self.world)
        self.refuse(apart, f"{apart.numel():,} tokens of {where}")

    def drawn(self, prompts: Sequence[Sequence[int]], streams: Sequence[int], knobs: SamplingKnobs) -> Sampled:
        """`sample`, without scoring."""
        check_knobs(knobs.max_new_tokens, knobs.temperature, knobs.top_k, knobs.top_p)
        limits = limits_of(self.policy, prompts, knobs.max_new_tokens)
        found = self.world.from_main(lambda: self.asked(prompts, streams, knobs, limits))
        tokens, logprobs = [ids for ids, _ in found], [values for _, values in found]
        return Sampled(tokens, logprobs, [self.policy.ends.ended(ids) for ids in tokens], self.version)

    def asked(
        self, prompts: Sequence[Sequence[int]], streams: Sequence[int], knobs: SamplingKnobs, limits: Sequence[int]
    ) -> list[tuple[list[int], list[float]]]:
        """Ids and log-probabilities, of so many rows at a time."""
        found = []
        for part in parts_of(prompts, knobs.max_new_tokens):
            wanted = [list(prompt) for prompt in prompts[part]]
            body = {
                "model": self.server["id"],
                "prompt": wanted,
                "streams": list(streams[part]),
                "seed": knobs.seed,
                "max_tokens": knobs.max_new_tokens,
                "temperature": knobs.temperature,
                "logprobs": 0,
                "return_token_ids": True,
            }
            body |= {} if knobs.top_k is None else {"top_k": knobs.top_k}
            body |= {} if knobs.top_p is None else {"top_p": knobs.top_p}
            expected = self.expected | {"seed": knobs.seed}

            def read(reply: Any, wanted: Any = wanted, part: Any = part, expected: Any = expected) -> Any:
                check_facts(reply, expected)
                return completions(reply, wanted, limits[part], self.policy)

            found += self.ask(endpoint(self.url, "completions"), body, read)
        return found

    def ask(self, url: str, body: dict[str, Any], read: Callable[[Any], T]) -> T:
        """What `read` makes of the reply. Raises SamplerError where no try gives one that it accepts."""
        problem = ""
        for attempt in range(self.tries):
            if attempt:
                time.sleep(self.pause * 2 ** (attempt - 1))
            try:
                return read(request(url, self.timeout, SAMPLER, body))
            except FailedRequestError as error:
                problem = f"does not answer ({error})" if not error.answered else f"refuses a request ({error})"
                if not error.again:
                    raise self.failed(problem) from error
            except WrongReplyError as error:
                problem = str(error)
                if error.stale and attempt + 1 < self.tries and url != endpoint(self.url, LOAD):
                    self.hand_over(self.sent())  # as after a restart of the server
            except SamplerError:
                raise
            except UserError as error:
                raise SamplerError(str(error)) from error
        raise self.failed(f"{problem}, {self.tries} times")

    def failed(self, problem: str) -> SamplerError:
        return SamplerError(f"the sampler at {self.shown} {problem}: look at the server, and start it again")

    def compare(self, logprobs: Tensor, sampler_logprobs: Tensor, mask: Tensor) -> None:
        """Raise SamplerError where the sampler's log-probabilities are not the policy's."""
        apart = (logprobs.double() - sampler_logprobs.double())[mask].abs()
        self.refuse(apart, f"{apart.numel():,} tokens of a rollout")

    def refuse(self, apart: Tensor, where: str) -> None:
        """Raise SamplerError for differences of log-probabilities above the bound, or a tenth of it on average."""
        most, mean = (apart.max().item(), apart.mean().item()) if apart.numel() else (0.0, 0.0)
        if most <= self.bound and mean <= self.bound / 10:  # False where one is NaN
            return
        raise SamplerError(
            f"the sampler at {self.shown} says that it has the weights of version {self.version}, but its "
            f"log-probabilities are not theirs: those of {where} differ by up to {most:.3g} and by {mean:.3g} on "
            f"average, where {self.bound:g} and {self.bound / 10:g} are allowed; start the server again"
        )


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
