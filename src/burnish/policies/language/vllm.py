"""The conversation with a vLLM server, in vLLM's own calls.

Weights are handed over through a folder: the server is paused, reads them (`reload_weights`), forgets the keys and
values of the prompts that it knows, and goes on. Its replies do not say which weights they came from, and a reload that
did nothing has been seen to answer success: `ServedSampler.prove` finds out before anything is learned from it.

Each completion is a request of its own with its own seed: in one request vLLM gives all prompts the same one, so that
two completions of a prompt would be equal.
"""

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

import torch

from burnish.policies.interface import SamplerError, SamplingKnobs, Wanted
from burnish.policies.language.connection import SAMPLER, Connection, Handed, body_of, place_for_weights
from burnish.policies.language.handed import write_weights
from burnish.policies.language.replies import check_facts, completions
from burnish.run import UserError
from burnish.run.background import at_once
from burnish.run.web import FailedRequestError, endpoint, request

PROCESSED = "processed_logprobs"
"""vLLM's word for log-probabilities of the distribution that a token was drawn from."""

START = "start it as VLLM_SERVER_DEV_MODE=1 vllm serve MODEL --logprobs-mode processed_logprobs"
AT_ONCE = 128
"""Requests that wait for their replies at a time."""

NEUTRAL = {
    "n": 1,
    "min_p": 0.0,
    "min_tokens": 0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}
"""What a request says so that the defaults of a model's generation configuration, which vLLM takes, do not apply."""


class VllmConnection(Connection):
    """The vLLM server at `url`, see `Connection`; `has` is the checksum of the weights that it was given last."""

    has = ""

    def greeted(self) -> dict[str, Any]:
        """What is known of the server's model. Raises UserError where it cannot sample for the policy."""
        one = self.listed()
        try:
            found = request(self.control("server_info", config_format="json"), self.in_time, SAMPLER)
            config: Mapping[str, Any] = found["vllm_config"]["model_config"]
            mode, dtype = config["logprobs_mode"], str(config["dtype"]).removeprefix("torch.")
        except (FailedRequestError, LookupError, TypeError) as error:
            raise UserError(
                f"the vLLM server at {self.shown} does not say how it is set ({error}): its calls for weights have to "
                f"be enabled: {START}"
            ) from error
        if mode != PROCESSED:
            raise UserError(
                f"the vLLM server at {self.shown} gives {mode}, which are not those of the distribution that it draws "
                f"from: {START}"
            )
        if config.get("quantization") is not None or not isinstance(getattr(torch, dtype, None), torch.dtype):
            raise UserError(
                f"the vLLM server at {self.shown} has weights in {config.get('quantization') or dtype}, into which the "
                f"model's cannot be loaded: serve the model itself, with --dtype {self.policy.precision}"
            )
        return {"id": one["id"], "dtype": dtype, "logprobs_mode": mode}

    def expected(self, handed: Handed) -> dict[str, Any]:
        """What a reply has to say of itself: of the weights it says nothing."""
        return {"model": self.server["id"]}

    def hand_over(self, handed: Handed) -> None:
        """Have the server load the weights through the folder, while it answers no other request, unless they are those
        that it was given last."""
        if handed.sha256 == self.has:
            return
        self.has = ""
        with place_for_weights(self.folder) as folder:
            write_weights(folder, handed.tensors(), handed.sha256)
            self.order("pause", handed, mode="wait")
            try:
                path = {"weights_path": str(folder.resolve()), "is_checkpoint_format": True}
                self.order("collective_rpc", handed, {"method": "reload_weights", "kwargs": path})
                self.order("reset_prefix_cache", handed)
            finally:
                self.order("resume", handed)
        self.has = handed.sha256

    def asked(self, handed: Handed, wanted: Wanted, limits: Sequence[int]) -> list[tuple[list[int], list[float]]]:
        """Ids and log-probabilities of one completion per prompt."""
        rows = zip(wanted.prompts, wanted.streams, limits, strict=True)
        each = [partial(self.one, handed, list(prompt), stream, wanted.knobs, limit) for prompt, stream, limit in rows]
        return at_once(each, AT_ONCE)

    def one(
        self, handed: Handed, prompt: list[int], stream: int, knobs: SamplingKnobs, limit: int
    ) -> tuple[list[int], list[float]]:
        """Ids and log-probabilities of the completion of a prompt."""
        ends = {"stop_token_ids": sorted(self.policy.ends.ids), "ignore_eos": True}  # those of the policy alone
        body = body_of(self.server["id"], [prompt], [stream], knobs) | NEUTRAL | ends
        del body["streams"]
        body |= {"prompt": prompt, "max_tokens": limit, "seed": seed_of(knobs.seed, stream)}
        body |= {"top_k": -1 if knobs.top_k is None else knobs.top_k, "top_p": knobs.top_p or 1.0}

        def read(reply: Any) -> tuple[list[int], list[float]]:
            check_facts(reply, self.expected(handed))
            return completions(reply, [prompt], [limit], self.policy)[0]

        return self.ask(endpoint(self.url, "completions"), body, read, handed)

    def order(self, name: str, handed: Handed, body: dict[str, Any] | None = None, **query: str) -> None:
        """Have the server do something, whose reply says no more than that it is done."""
        try:
            self.ask(self.control(name, **query), body or {}, lambda reply: None, handed, empty=True)
        except SamplerError as error:
            raise SamplerError(f"{str(error).rstrip('.')} (/{name} of vLLM; {START})") from error

    def control(self, name: str, **query: str) -> str:
        """The address of a call that is not part of OpenAI's protocol: beside `/v1`."""
        parts = urlsplit(self.url)
        asked = "&".join(one for one in (urlencode(query), parts.query) if one)
        return urlunsplit(parts._replace(path=f"{parts.path.removesuffix('/v1')}/{name}", query=asked))


def seed_of(seed: int, stream: int) -> int:
    """The seed of one completion's random stream."""
    return int.from_bytes(hashlib.sha256(f"{seed} {stream}".encode()).digest()[:8], "big") >> 1


def recognised(connection: Connection) -> Connection:
    """The same conversation, in the dialect of the server that is there. Raises UserError where none answers."""
    if connection.listed().get("owned_by") != "vllm":
        return connection
    c = connection
    return VllmConnection(c.policy, c.url, c.folder, c.timeout, c.tries, c.pause)
