"""Which devices compute in bfloat16 themselves: there `--precision auto` takes it, elsewhere float32."""

from collections.abc import Callable

import torch

Detection = Callable[[], frozenset[str]]

SLOW = (
    "this {device} has no bfloat16 of its own and emulates it{cost}: --precision auto takes bfloat16 only where it is "
    "faster than float32"
)


def cpu_features() -> frozenset[str]:
    """What PyTorch finds of bfloat16 on this CPU: the instructions, and whether oneDNN may be used for it."""
    onednn = torch.backends.mkldnn
    found = {
        "avx512_bf16": torch.cpu._is_avx512_bf16_supported(),
        "amx": torch.cpu._is_amx_tile_supported(),
        "onednn": onednn.is_available() and onednn.enabled and torch.ops.mkldnn._is_mkldnn_bf16_supported(),
    }
    return frozenset(name for name, there in found.items() if there)


def computes_bfloat16(device: str, features: Detection = cpu_features) -> bool:
    """Whether a device has instructions for bfloat16: a GPU as PyTorch says, an x86 CPU with AVX-512 BF16 or AMX.

    oneDNN alone is not enough: it says yes of a CPU with AVX-512 only, where it emulates bfloat16.
    """
    kind = torch.device(device).type
    if kind == "cuda":
        with torch.cuda.device(device):
            return torch.cuda.is_bf16_supported(including_emulation=False)
    found = features() if kind == "cpu" else frozenset()
    return "onednn" in found and bool(found & {"avx512_bf16", "amx"})


def resolved(precision: str, device: str, features: Detection = cpu_features) -> str:
    """The precision to compute in: of "auto" bfloat16 where the device has it, and else float32."""
    if precision != "auto":
        return precision
    return "bfloat16" if computes_bfloat16(device, features) else "float32"


def cost_of_emulation(precision: str, device: str, features: Detection = cpu_features) -> str | None:
    """A line for the terminal where bfloat16 was asked for and the CPU or the GPU emulates it."""
    kind = torch.device(device).type
    if precision != "bfloat16" or kind not in ("cpu", "cuda") or computes_bfloat16(device, features):
        return None
    cost = ", and a training step was measured at more than 15 times a float32 step" if kind == "cpu" else ""
    return SLOW.format(device="CPU" if kind == "cpu" else "GPU", cost=cost)
