"""A server that speaks vLLM's calls, as far as Burnish uses them, with the faults that vLLM was seen to have.

It samples with a policy of Burnish. Like vLLM it takes what a request leaves out from a generation configuration, gives
all prompts of a request the same seed, ends at an end of its own too, and says in no reply which weights it has.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from running import running
from safetensors.torch import load_file
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from burnish.policies.language.policy import LanguagePolicy
from burnish.policies.language.sampler import sample
from burnish.recipes.web import opened

DEFAULTS = {"temperature": 0.7, "top_k": 3, "top_p": 0.8, "repetition_penalty": 1.3}
"""A model's generation configuration."""


class FakeVllm:
    """The server's state: its policy, what was asked of it in which order, and its faults.

    `loads` says what a reload does: "all" of the weights, "nothing", "embeddings and norms" as vLLM on a CPU was seen
    to do, or "the first" and no more. `mode` is its `--logprobs-mode`; without `development` it has OpenAI's calls
    alone. `failing` is a call that answers with an error.
    """

    def __init__(self, policy: LanguagePolicy) -> None:
        self.policy = policy
        self.loads, self.mode, self.dtype, self.quantization = "all", "processed_logprobs", "torch.float32", None
        self.development, self.paused, self.failing = True, False, ""
        self.calls: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.loaded = 0

    quantization: str | None

    def app(self) -> Starlette:
        routes = [Route("/v1/models", self.models), Route("/v1/completions", self.completions, methods=["POST"])]
        routes.append(Route("/server_info", self.server_info))
        orders = {"pause": self.pause, "resume": self.resume, "collective_rpc": self.rpc}
        for name, order in (orders | {"reset_prefix_cache": self.reset}).items():
            routes.append(Route(f"/{name}", self.order(name, order), methods=["POST"]))
        return Starlette(routes=routes)

    async def models(self, request: Request) -> Response:
        one = {"id": "runs/chat", "object": "model", "owned_by": "vllm", "root": "runs/chat", "max_model_len": 4096}
        return JSONResponse({"object": "list", "data": [one]})

    async def server_info(self, request: Request) -> Response:
        if not self.development:
            return JSONResponse({"detail": "Not Found"}, 404)
        assert request.query_params["config_format"] == "json"
        config = {"logprobs_mode": self.mode, "dtype": self.dtype, "quantization": self.quantization}
        return JSONResponse({"vllm_config": {"model_config": config}, "vllm_env": {}})

    def order(self, name: str, function: Any) -> Any:
        async def answer(request: Request) -> Response:
            if not self.development:
                return JSONResponse({"detail": "Not Found"}, 404)
            self.calls.append(name)
            if self.failing == name:
                return JSONResponse({"error": {"message": "the engine is dead"}}, 500)
            return function(request, await request.json())

        return answer

    def pause(self, request: Request, body: Any) -> Response:
        assert request.query_params["mode"] in ("abort", "wait", "keep")
        self.paused = True
        return JSONResponse({"status": "paused"})

    def resume(self, request: Request, body: Any) -> Response:
        self.paused = False
        return JSONResponse({"status": "resumed"})

    def reset(self, request: Request, body: Any) -> Response:
        return Response(status_code=200)  # without a text

    def rpc(self, request: Request, body: Any) -> Response:
        assert self.paused
        assert body["method"] == "reload_weights"
        tensors = {}
        for file in Path(body["kwargs"]["weights_path"]).glob("*.safetensors"):
            tensors |= load_file(file)
        assert tensors
        self.loaded += 1
        if self.loads == "embeddings and norms":
            tensors = {name: one for name, one in tensors.items() if one.dim() == 1 or "embed" in name}
        if self.loads == "all" or (self.loads == "the first" and self.loaded == 1) or "norms" in self.loads:
            with torch.no_grad():
                for name, tensor in tensors.items():
                    self.policy.model.get_parameter(name).copy_(tensor)
        return JSONResponse({"results": [None]})  # success, whatever was done

    async def completions(self, request: Request) -> Response:
        body = await request.json()
        self.bodies.append(body)
        while self.paused:
            await asyncio.sleep(0.01)
        knobs = DEFAULTS | body
        if knobs["repetition_penalty"] != 1.0:
            return JSONResponse({"error": {"message": "this stand-in has no penalties"}}, 400)
        prompts = body["prompt"] if isinstance(body["prompt"][0], list) else [body["prompt"]]
        assert sorted(body["stop_token_ids"]) == sorted(self.policy.ends.ids)
        assert body["ignore_eos"]
        assert body["return_token_ids"]
        found = sample(
            self.policy,
            prompts,
            seed=body["seed"] % 2**32,
            max_new_tokens=body["max_tokens"],
            temperature=knobs["temperature"],
            top_k=None if knobs["top_k"] in (-1, 0) else knobs["top_k"],
            top_p=None if knobs["top_p"] == 1.0 else knobs["top_p"],
            streams=[0] * len(prompts),  # all of them the request's seed
        )
        choices = [
            {
                "index": i,
                "text": "",
                "logprobs": {"token_logprobs": values, "tokens": [""] * len(ids), "top_logprobs": None},
                "finish_reason": "stop" if ended else "length",
                "stop_reason": ids[-1] if ended else None,
                "token_ids": ids,
                "prompt_token_ids": prompts[i],
            }
            for i, (ids, values, ended) in enumerate(zip(found.tokens, found.logprobs, found.ended, strict=True))
        ]
        return JSONResponse({"id": "cmpl-1", "object": "text_completion", "model": "runs/chat", "choices": choices})


@contextmanager
def vllm(policy: LanguagePolicy) -> Iterator[tuple[FakeVllm, str]]:
    """The server, which alone may use this policy until the block ends, and its address."""
    server, listening = FakeVllm(policy), opened("127.0.0.1", 0)
    with running(server.app(), listening, timeout_graceful_shutdown=1):
        yield server, f"http://127.0.0.1:{listening.getsockname()[1]}"
