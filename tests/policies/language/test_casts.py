"""Weights are cast once for all that is sampled, and what was kept is gone afterwards."""

from typing import Any

import tiny
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from burnish.ends import Ends
from burnish.policies.language.policy import LanguagePolicy
from burnish.policies.language.sampler import Sampled, sample


class Casts(TorchDispatchMode):
    """Counts what is cast to bfloat16 with the shape of one of the weights."""

    def __init__(self, policy: LanguagePolicy) -> None:
        super().__init__()
        self.shapes, self.count = {p.shape for p in policy.parameters().values() if p.dim() == 2}, 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function is torch.ops.aten._to_copy.default and kwargs.get("dtype") == torch.bfloat16:
            self.count += args[0].shape in self.shapes
        return function(*args, **kwargs)


def half() -> LanguagePolicy:
    policy = tiny.make_policy("llama", double=False)
    return LanguagePolicy(policy.model, policy.tokenizer, precision="bfloat16")


def drawn(policy: LanguagePolicy, count: int = 12) -> Sampled:
    return sample(policy, [[3, 4, 5], [6, 7]], seed=0, max_new_tokens=count)


def test_sampling_casts_each_weight_once() -> None:
    policy = half()
    policy.ends = Ends((), None)
    counts = []
    for length in (1, 12):
        with Casts(policy) as casts:
            drawn(policy, length)
        counts.append(casts.count)
    assert counts[0] == counts[1] > 0


def test_casts_are_made_anew_when_weights_have_changed_and_let_gradients_through() -> None:
    policy, other = half(), half()
    drawn(policy)
    with torch.no_grad():
        for one in (policy, other):
            for p in one.parameters().values():
                p.mul_(1.5)
    assert drawn(policy) == drawn(other)
    batch = tiny.demonstrations(tiny.random_rows(3))
    policy.logprobs(batch).sum().backward()
    assert all(p.grad is not None for p in policy.parameters().values())
