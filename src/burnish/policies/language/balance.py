"""The load-balancing loss of a mixture of experts, where the model's configuration asks for it.

    E · Σₑ fₑ Pₑ

with fₑ the mean over tokens and layers of how often expert e is chosen, and Pₑ the mean probability that the router
gives it. It is a statistic of all the tokens that are read in one update, or in one micro-batch of it: prompts and
responses up to the last trained token, that token included. The configuration asks for it with `output_router_logits`,
and its weight is `router_aux_loss_coef`.

Fedus et al. (2021), "Switch Transformers", equations 4 to 6. The function is transformers' own of the model's family.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from transformers import PreTrainedModel

from burnish.policies.language.layout import Bucket
from burnish.run import UserError

FUNCTION = "load_balancing_loss_func"
ARGUMENTS = {"gate_logits", "num_experts", "top_k", "attention_mask"}


@dataclass
class LoadBalance:
    """The loss of a model, its weight, and what the routers said in the forward passes that it is a mean over."""

    function: Callable[..., Tensor]
    chosen: int
    weight: float
    passes: list[tuple[tuple[Tensor, ...], Tensor]] | None = None

    @contextmanager
    def losses(self) -> Iterator[dict[str, tuple[float, Tensor]]]:
        """Weight and value of the loss of the passes inside by its name, "aux_loss", if there were any."""
        found: dict[str, tuple[float, Tensor]] = {}
        self.passes = []
        try:
            yield found
            if self.passes:
                found["aux_loss"] = (self.weight, self.value(self.passes))
        finally:
            self.passes = None

    def note(self, output: Any, bucket: Bucket) -> None:
        """Keep the router logits of a pass that is trained on: one tensor per layer, `[n·s, E]` or `[n, s, E]`."""
        if self.passes is not None and torch.is_grad_enabled():
            self.passes.append((output.router_logits, tokens_read(bucket)))

    def value(self, passes: list[tuple[tuple[Tensor, ...], Tensor]]) -> Float[Tensor, ""]:
        """The loss over the tokens of all passes together."""
        logits, real = zip(*passes, strict=True)
        layers = tuple(torch.cat([one.flatten(0, -2) for one in layer]) for layer in zip(*logits, strict=True))
        mask = torch.cat([one.flatten() for one in real])[None].to(layers[0].dtype)
        return self.function(layers, num_experts=layers[0].shape[-1], top_k=self.chosen, attention_mask=mask)


def load_balance(model: PreTrainedModel) -> LoadBalance | None:
    """The loss that the model's configuration asks for; None where it asks for none, or transformers has none.

    Raises UserError for a family whose loss has other arguments.
    """
    config = model.config.get_text_config()
    own = getattr(model, "aux_loss_coef", None)  # JetMoE's name
    weight = getattr(model, "router_aux_loss_coef", getattr(config, "router_aux_loss_coef", own))
    function = getattr(inspect.getmodule(type(model)), FUNCTION, None)
    if not getattr(config, "output_router_logits", False) or not weight or function is None:
        return None
    if inspect.signature(function).parameters.keys() != ARGUMENTS:
        raise UserError(
            f"{config.name_or_path} ({config.model_type}) asks for a router loss that Burnish does not support: set "
            "output_router_logits to false in its config.json to train without it"
        )
    return LoadBalance(function, getattr(model, "num_experts_per_tok", None) or config.num_experts_per_tok, weight)


def tokens_read(bucket: Bucket) -> Bool[Tensor, "n s"]:
    """Where a bucket has tokens of its rows, up to the last chosen one, rather than padding."""
    before_the_last = bucket.chosen.flip(1).cumsum(1).flip(1) > 0
    return torch.nn.functional.pad(before_the_last, (1, 0), value=True)[:, :-1]
