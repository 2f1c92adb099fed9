"""The served model: what it draws is what the sampler draws, whole or in pieces."""

import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from burnish.policies.language.handed import weights_of, weights_sha256, write_weights
from burnish.policies.language.policy import LanguagePolicy
from burnish.policies.language.sampler import sample
from burnish.policies.language.stops import Stops
from burnish.recipes.serve.engine import Engine, GoneError, StoppedError
from burnish.recipes.serve.requests import Asked, BadRequestError
from burnish.run import UserError

PROMPT = [0, 5, 6]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    found = Engine(tiny.make_policy("llama", double=False), "tiny")
    yield found
    found.close()


def asked(prompts: list[Any], **options: Any) -> Asked:
    streams = tuple(i * 100 for i in range(len(prompts)))
    return Asked(**{"kind": "completion", "prompts": prompts, "max_tokens": 8, "seed": 3, "streams": streams} | options)


@pytest.mark.parametrize("options", [{}, {"temperature": 0.5}, {"top_k": 2}, {"top_p": 0.6}])
def test_completions_are_those_of_the_sampler(engine: Engine, options: dict[str, Any]) -> None:
    reply = engine.complete(asked([PROMPT, [0, 4]], n=3, **options))
    own = sample(
        engine.policy,
        [PROMPT] * 3 + [[0, 4]] * 3,
        seed=3,
        max_new_tokens=8,
        streams=[0, 1, 2, 100, 101, 102],
        **options,
    )
    assert [one.tokens for one in reply.choices] == own.tokens
    assert [one.logprobs for one in reply.choices] == own.logprobs
    assert [one.finish == "stop" for one in reply.choices] == own.ended
    assert [one.index for one in reply.choices] == list(range(6))
    tokenizer = engine.policy.tokenizer
    for one in reply.choices:
        assert one.text.split() == tokenizer.decode(one.tokens, skip_special_tokens=True).split()


@pytest.mark.parametrize("options", [{}, {"temperature": 0.5, "top_k": 2}, {"top_k": 1}])
def test_alternatives_are_the_models_own_whatever_is_drawn_from(engine: Engine, options: dict[str, Any]) -> None:
    """The oracle reads prompt and completion in one forward pass; what is drawn is what is drawn without."""
    reply = engine.complete(asked([PROMPT], n=2, logprobs=True, alternatives=3, **options))
    plain = engine.complete(asked([PROMPT], n=2, logprobs=True, **options))
    assert [one.tokens for one in reply.choices] == [one.tokens for one in plain.choices]
    modes = reply.facts["logprobs_mode"], plain.facts["logprobs_mode"], engine.facts["logprobs_mode"]
    assert modes == ("raw_logprobs", "processed_logprobs", "processed_logprobs")
    assert plain.choices[0].likeliest == [{}] * len(plain.choices[0].tokens)
    for one in reply.choices:
        with torch.no_grad():
            logits = engine.policy.model(input_ids=torch.tensor([PROMPT + one.tokens])).logits[0, len(PROMPT) - 1 : -1]
        own = logits.double().log_softmax(-1)
        for place, (token, logprob, likeliest) in enumerate(zip(one.tokens, one.logprobs, one.likeliest, strict=True)):
            order = own[place].argsort(descending=True).tolist()[:3]
            assert list(likeliest)[:3] == order
            assert list(likeliest)[3:] == ([] if token in order else [token])
            assert list(likeliest.values()) == pytest.approx([own[place][i].item() for i in likeliest], abs=1e-5)
            assert logprob == likeliest[token]


def test_a_token_is_called_by_its_text(engine: Engine) -> None:
    assert [engine.called(token) for token in (5, 1, 5)] == ["film", "</s>", "film"]


def test_a_text_is_read_as_its_ids(engine: Engine) -> None:
    """film = 5, plot = 6, behind the BOS."""
    assert engine.complete(asked(["film plot"])).prompts == [PROMPT]
    assert engine.complete(asked(["film plot"])).choices == engine.complete(asked([PROMPT])).choices


@cache
def drawn(engine: Engine) -> list[int]:
    """A completion with four different words and more behind them."""
    for seed in range(50):
        ids = engine.complete(asked([PROMPT], seed=seed)).choices[0].tokens
        if len(set(ids[:4])) == 4 and len(ids) == 8 and min(ids) > tiny.UNK:
            return [seed, *ids]
    raise AssertionError("no such completion")


@pytest.mark.parametrize("streamed", [False, True])
def test_a_completion_ends_before_a_stop_text(engine: Engine, streamed: bool) -> None:
    seed, *ids = drawn(engine)
    words = engine.policy.tokenizer.convert_ids_to_tokens(ids)
    stop = f"{words[2]} {words[3]}"
    found = engine.complete(asked([PROMPT], seed=seed, stop=(stop, "never this"), streamed=streamed)).choices[0]
    assert (found.finish, found.reason) == ("stop", stop)
    assert found.tokens == ids[:4]
    assert found.text.strip() == f"{words[0]} {words[1]}"
    stops = Stops((stop,), engine.policy.tokenizer)
    assert sample(engine.policy, [PROMPT], seed=seed, max_new_tokens=8, stops=stops).tokens == [found.tokens]


@pytest.mark.parametrize("streamed", [False, True])
def test_a_completion_ends_at_a_stop_id(engine: Engine, streamed: bool) -> None:
    seed, *ids = drawn(engine)
    found = engine.complete(asked([PROMPT], seed=seed, stop_tokens=(ids[2],), streamed=streamed)).choices[0]
    assert (found.finish, found.reason, found.tokens) == ("stop", ids[2], ids[:3])
    assert found.text.split() == engine.policy.tokenizer.convert_ids_to_tokens(ids[:2])
    with pytest.raises(UserError, match="stop_token_ids"):
        engine.complete(asked([PROMPT], stop_tokens=(99,)))


def test_a_stream_has_the_same_text_in_pieces(engine: Engine) -> None:
    one = asked([PROMPT, [0, 4]], n=2, stop=("great great",), streamed=True)
    whole, stream = engine.complete(one), engine.stream(one)
    prompts, facts = stream.head()
    assert (prompts, facts) == (whole.prompts, engine.facts)
    pieces = list(stream.pieces())
    for choice in whole.choices:
        own = [piece for piece in pieces if piece.index == choice.index]
        assert "".join(piece.text for piece in own) == choice.text
        assert [piece.token for piece in own] == choice.tokens
        assert [piece.logprob for piece in own] == choice.logprobs
        assert [piece.finish for piece in own] == [None] * (len(own) - 1) + [choice.finish]


def test_what_is_wrong_with_a_streamed_request_is_raised_first(engine: Engine) -> None:
    with pytest.raises(UserError, match="has 48 tokens and the model's context 48"):
        engine.stream(asked([[0] * 48], streamed=True)).head()
    with pytest.raises(UserError, match="temperature must be at least"):
        engine.stream(asked([PROMPT], temperature=-1.0)).head()


def test_a_conversation_needs_a_template(engine: Engine) -> None:
    said = [{"role": "user", "content": "film"}]
    with pytest.raises(UserError, match="tiny has no chat template: send its text to /v1/completions"):
        engine.complete(asked([said], kind="chat"))
    talker = Engine(LanguagePolicy(tiny.make_model("llama"), tiny.make_chat_tokenizer("a")), "talker")
    reply = talker.complete(asked([said], kind="chat"))
    assert reply.prompts == [[8, 5, 6, 7]]  # the film plot a
    assert talker.described()["chat_template"]
    talker.close()


def test_weights_are_loaded_from_a_folder(tmp_path: Path) -> None:
    engine, other = Engine(tiny.make_policy("llama", double=False), "tiny"), tiny.make_policy("llama", 1, double=False)
    first, digest = engine.sha256, weights_sha256(other.model)
    write_weights(tmp_path / "w", weights_of(other, torch.float32), digest)
    with pytest.raises(BadRequestError, match="in this server, and not ffffffffffff… as was asked for"):
        engine.load(str(tmp_path / "w"), 4, "f" * 64)
    assert (engine.sha256, engine.version) == (first, 0)
    assert weights_sha256(engine.policy.model) == first
    facts = engine.load(str(tmp_path / "w"), 4, digest)
    assert (facts["weights_sha256"], facts["weights_version"]) == (digest, 4)
    assert (
        engine.complete(asked([PROMPT])).choices[0].tokens
        == sample(other, [PROMPT], seed=3, max_new_tokens=8).tokens[0]
    )
    assert engine.load(None, 5, digest)["weights_version"] == 5
    with pytest.raises(BadRequestError, match="the weights in use have the checksum"):
        engine.load(None, 6, first)
    assert engine.version == 5
    engine.close()


def test_what_nobody_waits_for_is_drawn_no_further(engine: Engine) -> None:
    gone = threading.Event()
    pieces = engine.pieces(asked([PROMPT]), [PROMPT], gone)
    next(pieces)
    gone.set()
    with pytest.raises(GoneError):
        next(pieces)
    with pytest.raises(GoneError):
        engine.complete(asked(["film"]), gone)


def test_a_server_that_is_stopped_draws_no_further() -> None:
    engine = Engine(tiny.make_policy("llama", double=False), "tiny")
    engine.stopping.set()
    with pytest.raises(StoppedError):
        engine.complete(asked([PROMPT]))
    stream = engine.stream(asked([PROMPT]))
    with pytest.raises(StoppedError):
        stream.head()
    engine.close()
