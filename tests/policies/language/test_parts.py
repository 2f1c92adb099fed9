"""The body and the head of a causal language model: together they are its forward pass."""

import families
import pytest
import tiny
import torch

from burnish.policies.language.parts import body, head


@pytest.mark.parametrize("family", ["gpt2", "gemma2", "cohere", "granite"])
def test_a_head_scales_and_caps(family: str) -> None:
    """Without a family's scaling or capping the numbers would differ by far more than rounding."""
    model = tiny.make_model(family).eval()
    ids = torch.tensor([[3, 4, 5, 6]])
    with torch.no_grad():
        hidden = body(model)(input_ids=ids, use_cache=False).last_hidden_state
        torch.testing.assert_close(head(model, hidden), model(input_ids=ids).logits)
        change = (head(model, hidden) - model.get_output_embeddings()(hidden)).abs().max()
    assert change == 0 if family == "gpt2" else change > 0.1


@pytest.mark.parametrize("family", ["llama4_text", "modernbert-decoder", "falcon_h1", "recurrent_gemma"])
def test_other_bodies_and_heads(family: str) -> None:
    model = families.make_model(family)
    ids = torch.tensor([[3, 4, 5, 6]])
    with torch.no_grad():
        hidden = body(model)(input_ids=ids, use_cache=False).last_hidden_state
        torch.testing.assert_close(head(model, hidden), model(input_ids=ids, use_cache=False).logits)


def test_a_scale_of_nothing_is_a_scale() -> None:
    """Cohere with logit_scale 0 is uniform; without one there is no scaling."""
    model = tiny.make_model("cohere", logit_scale=0.0)
    assert not head(model, torch.ones(2, 16)).any()
    model.config.logit_scale = None
    assert torch.equal(head(model, torch.ones(2, 16)), model.get_output_embeddings()(torch.ones(2, 16)))
