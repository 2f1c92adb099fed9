"""Texts that grow: the last hidden state of each is that of the text read alone, whatever stands beside it."""

from typing import Any

import families
import pytest
import tiny
import torch

from burnish.policies.language.parts import body
from burnish.policies.language.texts import CachedTexts, WholeTexts

TEXTS = [[0, 4, 5, 6, 7], [0, 9], [3]]


@pytest.mark.parametrize("kind", [CachedTexts, WholeTexts])
@pytest.mark.parametrize("family", ["gpt2", "mistral", "gemma2", "mamba", "bamba"])
def test_states_are_those_of_each_text_alone(kind: Any, family: str) -> None:
    """Three texts grow by a token each, then two of them, twice, then one."""
    model = (tiny.make_model(family) if family in tiny.FAMILIES else families.make_model(family)).eval()
    grown = [list(text) for text in TEXTS]

    def check(texts: Any, rows: list[int]) -> None:
        found = texts.states()
        assert found.shape[0] == len(rows)
        for state, row in zip(found, rows, strict=True):
            alone = body(model)(input_ids=torch.tensor([grown[row]]), use_cache=False).last_hidden_state[0, -1]
            torch.testing.assert_close(state, alone, rtol=1e-4, atol=1e-4)

    with torch.no_grad():
        texts = kind(model, TEXTS)
        check(texts, [0, 1, 2])
        rows = [0, 1, 2]
        for kept, tokens in ((None, [8, 3, 10]), ([1, 2], [5, 6]), (None, [7, 7]), ([1], [4])):
            rows = rows if kept is None else [rows[i] for i in kept]
            for row, token in zip(rows, tokens, strict=True):
                grown[row].append(token)
            if kept is not None:
                texts.keep(kept)
            texts.extend(torch.tensor(tokens))
            check(texts, rows)


@pytest.mark.parametrize("kind", [CachedTexts, WholeTexts])
@pytest.mark.parametrize("family", ["gpt2", "mistral", "gemma2", "mamba", "bamba", "falcon_h1"])
def test_texts_join_others_that_are_read(kind: Any, family: str) -> None:
    """A short text grows alone, a copy of it and longer and shorter ones join; then the long one leaves."""
    model = (tiny.make_model(family) if family in tiny.FAMILIES else families.make_model(family)).eval()
    grown = [[0, 9, 4], [0, 9, 4], [0, 4, 5, 6, 7], [3]]
    with torch.no_grad():
        texts = kind(model, [[0, 9]])
        texts.states()
        texts.extend(torch.tensor([4]))
        others = [kind(model, grown[2:3]), kind(model, grown[3:])]
        for one in (texts, *others):
            one.states()
        texts.keep([0, 0])
        texts.join(others)
        for step in range(30):
            tokens = [3 + (step + i) % 15 for i in range(len(grown))]
            grown = [[*text, token] for text, token in zip(grown, tokens, strict=True)]
            texts.extend(torch.tensor(tokens))
            for state, text in zip(texts.states(), grown, strict=True):
                alone = body(model)(input_ids=torch.tensor([text]), use_cache=False).last_hidden_state[0, -1]
                torch.testing.assert_close(state, alone, rtol=1e-3, atol=1e-3)
            if step == 3:
                texts.keep([0, 3, 1])
                grown = [grown[0], grown[3], grown[1]]


@pytest.mark.parametrize("family", ["gpt2", "mistral", "gemma2", "llama"])
def test_a_text_may_lie_far_back_in_the_cache(family: str) -> None:
    """Beside a text of a thousand tokens, its last token has the state that it has alone."""
    model = tiny.make_model(family).eval()
    with torch.no_grad():
        texts = CachedTexts(model, [[0, 9, 4, 7], [3, 5]])
        texts.states()
        texts.extend(torch.tensor([6, 8]))
        texts.move_back(1000)
        for state, text in zip(texts.states(), ([0, 9, 4, 7, 6], [3, 5, 8]), strict=True):
            alone = body(model)(input_ids=torch.tensor([text]), use_cache=False).last_hidden_state[0, -1]
            torch.testing.assert_close(state, alone, rtol=1e-4, atol=1e-4)
