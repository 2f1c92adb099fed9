"""The checks of how a model is read, made once for models of one kind: they read some fifteen texts each time.

`check_contract`, `slot_problem` and `packing_of` look at what the code of a family does with a configuration; so what
they found is kept under the classes of a model's modules, its configuration and its dtypes. It is looked for again
where more than that may decide: modules of one's own, hooks, a method that was replaced, weights that are not finite.
tests/policies/language/test_contract.py and test_masks.py call the functions themselves.
"""

import re
from collections.abc import Callable, Hashable
from typing import Any

import torch
from transformers import PreTrainedModel

from burnish.policies.language import policy, reader

LIBRARIES = ("torch.", "transformers.", "peft.")
FOUND: dict[Hashable, Any] = {}


def kind(model: PreTrainedModel) -> Hashable | None:
    """What decides how a model is read; None where it is not known."""
    for module in model.modules():
        own = not type(module).__module__.startswith(LIBRARIES) or "forward" in vars(module)
        if own or module._forward_hooks or module._forward_pre_hooks:
            return None
    if not all(weight.isfinite().all() for weight in model.parameters()):
        return None
    modules = tuple((name, type(module)) for name, module in model.named_modules())
    dtypes = tuple((weight.dtype, weight.shape) for weight in model.parameters())
    config = re.sub(r'"_name_or_path": .*', "", model.config.to_json_string(use_diff=False))
    attention = model.config.get_text_config()._attn_implementation, torch.get_float32_matmul_precision()
    return modules, dtypes, model.device, model.training, config, attention


def once(check: Callable[[PreTrainedModel], Any]) -> Callable[[PreTrainedModel], Any]:
    def found(model: PreTrainedModel) -> Any:
        of = kind(model)
        if of is None:
            return check(model)
        if (check, of) not in FOUND:
            FOUND[check, of] = check(model)
        return FOUND[check, of]

    return found


policy.check_contract = once(policy.check_contract)
policy.slot_problem = once(policy.slot_problem)
reader.packing_of = once(reader.packing_of)
