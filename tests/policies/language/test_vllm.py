"""A sampler behind vLLM: what is asked of it, and that it is not trusted to load what it is given.

The server is tests/fake_vllm.py, on a port of this machine: no vLLM is needed.
"""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from fake_vllm import FakeVllm, vllm

from burnish.policies.interface import SamplerError, SamplingKnobs
from burnish.policies.language.adapters import Lora
from burnish.policies.language.connection import Connection
from burnish.policies.language.policy import LanguagePolicy, load_policy
from burnish.policies.language.served import ServedSampler
from burnish.policies.language.vllm import VllmConnection, seed_of
from burnish.run import UserError

PROMPTS = [[0, 5, 6], [0, 4], [0, 11, 3, 9], [0, 5, 6], [0, 8]]
STREAMS = [3, 4, 2**40, 6, 7]
KNOBS = SamplingKnobs(5, 8, 0.7)
QUICK: dict[str, Any] = {"tries": 2, "pause": 0.001, "timeout": 30.0}
LOAD = ["pause", "collective_rpc", "reset_prefix_cache", "resume"]


def begun() -> LanguagePolicy:
    return tiny.make_policy("untied_llama", double=False)


def update(policy: LanguagePolicy, size: float = 0.05) -> LanguagePolicy:
    """The same after an update of every weight."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in policy.parameters().values():
            parameter.add_(size * torch.randn(parameter.shape, generator=generator))
    policy.temperature = KNOBS.temperature
    return policy


@pytest.fixture
def policy() -> LanguagePolicy:
    return update(begun())


@pytest.fixture
def server() -> Iterator[tuple[FakeVllm, str]]:
    with vllm(begun()) as found:
        yield found


def test_it_samples_with_the_weights_that_it_is_given(server: tuple[FakeVllm, str], policy: LanguagePolicy) -> None:
    """Weights are handed over twice, other ones first; what the server draws has the policy's log-probabilities."""
    fake, url = server
    sampler = ServedSampler(policy, url, **QUICK, scoring=True)
    before = {name: (p.data_ptr(), p.clone()) for name, p in policy.parameters().items()}
    assert (sampler.server["id"], sampler.bound) == ("runs/chat", 1e-3)
    sampler.load(policy.parameters(), 3)
    assert fake.calls == LOAD * 2
    found = sampler.sample(PROMPTS, STREAMS, KNOBS)
    assert (len(found.tokens), found.version) == (5, 3)
    assert found == sampler.sample(PROMPTS, STREAMS, KNOBS)
    for name, p in policy.parameters().items():
        assert p.data_ptr() == before[name][0]
        assert torch.equal(p, before[name][1])
    update(policy)
    sampler.load(policy.parameters(), 4)
    sampler.load(policy.parameters(), 5)  # which the server has
    assert fake.calls == LOAD * 3
    assert sampler.sample(PROMPTS, STREAMS, KNOBS).version == 5


def test_each_completion_has_a_seed_of_its_own(server: tuple[FakeVllm, str], policy: LanguagePolicy) -> None:
    """Rows 0 and 3 have the same prompt: in one request vLLM would give them the same completion."""
    fake, url = server
    sampler = ServedSampler(policy, url, **QUICK)
    sampler.load(policy.parameters(), 3)
    fake.bodies.clear()
    found = sampler.sample([PROMPTS[0]] * 8, list(range(8)), SamplingKnobs(5, 8))
    assert len({tuple(ids) for ids in found.tokens}) > 4
    assert {tuple(body["prompt"]) for body in fake.bodies} == {tuple(PROMPTS[0])}
    assert {body["seed"] for body in fake.bodies} == {seed_of(5, stream) for stream in range(8)}
    assert len({seed_of(seed, stream) for seed in range(50) for stream in range(50)}) == 2500
    assert all(0 <= seed_of(seed, 2**40) < 2**63 for seed in range(50))


@pytest.mark.parametrize("knobs", [KNOBS, SamplingKnobs(5, 8, 0.7, 2), SamplingKnobs(5, 8, 0.7, None, 0.5)])
def test_a_generation_configuration_of_the_server_does_not_apply(
    server: tuple[FakeVllm, str], policy: LanguagePolicy, knobs: SamplingKnobs
) -> None:
    fake, url = server
    sampler = ServedSampler(policy, url, **QUICK, scoring=True)
    sampler.load(policy.parameters(), 3)
    fake.bodies.clear()
    sampler.sample(PROMPTS[:1], STREAMS[:1], knobs)
    (body,) = fake.bodies
    expected = {"temperature": 0.7, "top_k": knobs.top_k or -1, "top_p": knobs.top_p or 1.0, "min_p": 0.0, "n": 1}
    expected |= {"repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0, "min_tokens": 0}
    expected |= {"model": "runs/chat", "max_tokens": 8, "logprobs": 0, "return_token_ids": True, "ignore_eos": True}
    expected |= {"prompt": PROMPTS[0], "seed": seed_of(5, 3), "stop_token_ids": sorted(policy.ends.ids)}
    assert body == expected


@pytest.mark.parametrize(
    ("loads", "where"),
    [("nothing", "a trial"), ("embeddings and norms", "a trial"), ("the first", "a probe")],
)
def test_success_is_not_taken_for_new_weights(
    server: tuple[FakeVllm, str], policy: LanguagePolicy, loads: str, where: str
) -> None:
    """The server answers that it has loaded them."""
    fake, url = server
    fake.loads = loads
    sampler = ServedSampler(policy, url, **QUICK)
    own = copy.deepcopy(policy.model.state_dict())
    with pytest.raises(
        SamplerError, match=rf"but its log-probabilities are not theirs: those of \d+ tokens of {where}"
    ):
        sampler.load(policy.parameters(), 3)
    assert all(torch.equal(tensor, own[name]) for name, tensor in policy.model.state_dict().items())


def test_a_server_that_stops_loading_is_found_out(server: tuple[FakeVllm, str], policy: LanguagePolicy) -> None:
    fake, url = server
    sampler = ServedSampler(policy, url, **QUICK)
    sampler.load(policy.parameters(), 3)
    fake.loads = "nothing"
    update(policy)
    with pytest.raises(SamplerError, match=r"has the weights of version 4, but its log-probabilities .* of a probe"):
        sampler.load(policy.parameters(), 4)


def test_updates_too_small_to_tell_do_not_hide_a_server_that_loads_nothing(server: tuple[FakeVllm, str]) -> None:
    """In 16 bits half a nat is allowed, and an update of 0.001 moves no log-probability so far: without the trial, old
    weights would pass."""
    fake, url = server
    fake.loads, fake.dtype = "nothing", "torch.bfloat16"
    policy = update(begun(), 0.001)
    sampler = ServedSampler(policy, url, **QUICK)
    assert sampler.bound == 0.5
    sampler.proved = True
    sampler.load(policy.parameters(), 1)
    sampler.proved = False
    with pytest.raises(SamplerError, match="of a trial with other weights"):
        sampler.load(policy.parameters(), 1)


def test_a_bound_that_tells_nothing_is_refused(server: tuple[FakeVllm, str], policy: LanguagePolicy) -> None:
    sampler = ServedSampler(policy, server[1], **QUICK, bound=1e4)
    with pytest.raises(SamplerError, match=r"a bound of 10000 does not tell .*: set a smaller sampler_bound"):
        sampler.load(policy.parameters(), 1)


def test_an_adapter_is_tried_out_too(tmp_path: Path, server: tuple[FakeVllm, str]) -> None:
    """A new adapter changes nothing, and is merged into what is sent."""
    fake, url = server
    policy = load_policy(tiny.save_model(tmp_path / "model", "untied_llama"), lora=Lora(2))
    sampler = ServedSampler(policy, url, **QUICK, scoring=True)
    sampler.load(policy.parameters(), 0)
    assert fake.calls == LOAD * 2
    sampler.sample(PROMPTS, STREAMS, KNOBS)
    sampler.proved, fake.loads = False, "nothing"
    with pytest.raises(SamplerError, match="of a trial with other weights"):
        sampler.load(policy.parameters(), 1)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "raw": ({"mode": "raw_logprobs"}, "gives raw_logprobs, which .*--logprobs-mode processed_logprobs"),
    "no development": ({"development": False}, "does not say how it is set .*VLLM_SERVER_DEV_MODE=1"),
    "quantised": ({"quantization": "fp8"}, "has weights in fp8, into which the model's cannot be loaded"),
    "a dtype": ({"dtype": "fp3"}, "has weights in fp3"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_server_that_is_set_otherwise_is_refused(
    server: tuple[FakeVllm, str], policy: LanguagePolicy, name: str
) -> None:
    (fake, url), (state, said) = server, REFUSED[name]
    vars(fake).update(state)
    with pytest.raises(UserError, match=said):
        ServedSampler(policy, url, **QUICK)


@pytest.mark.parametrize("name", LOAD)
def test_a_call_that_fails_is_a_sentence(
    server: tuple[FakeVllm, str], policy: LanguagePolicy, tmp_path: Path, name: str
) -> None:
    """Whatever fails, the server is asked to go on, and the weights are removed."""
    fake, url = server
    sampler = ServedSampler(policy, url, tmp_path / "sampler", **QUICK)
    fake.failing = name
    with pytest.raises(SamplerError, match=rf"the engine is dead\), 2 times: .*\(/{name} of vLLM; start it as VLLM"):
        sampler.load(policy.parameters(), 1)
    assert fake.calls.count(name) == 2
    assert name == "pause" or fake.calls[-1] == "resume"
    assert not (tmp_path / "sampler").exists()
    fake.failing = ""
    sampler.load(policy.parameters(), 1)


def test_its_own_calls_are_beside_those_of_openai(policy: LanguagePolicy) -> None:
    def control(url: str) -> str:
        return VllmConnection(policy, url, None, 1.0, 1, 0.0).control("pause", mode="wait")

    assert control("http://host:8000") == "http://host:8000/pause?mode=wait"
    assert control("http://host:8000/v1/") == "http://host:8000/pause?mode=wait"
    assert control("http://host/team/v1?key=a") == "http://host/team/pause?mode=wait&key=a"
    assert isinstance(VllmConnection(policy, "http://host", None, 1.0, 1, 0.0), Connection)
