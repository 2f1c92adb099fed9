"""What is set of PyTorch and the process before anything is computed."""

import datasets
import torch
import transformers

from burnish.config import Settings
from burnish.policies.language.precision import cost_of_emulation
from burnish.recipes.train.models import pick_device, say
from burnish.run import UserError, keep_freed_memory, threads_allowed


def prepare_torch(settings: Settings) -> None:
    """Threads and determinism: the same machine, versions and thread count give the same bits. On a CPU freed memory is
    kept for the next tensor, unless the settings ask for little memory.

    Says what the precision costs on a device that emulates it.
    """
    if settings.threads:
        refuse_threads(settings.threads)
        torch.set_num_threads(settings.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # every new tensor pays
    device = pick_device(settings.device)
    if device == "cpu" and not settings.gradient_checkpointing and settings.shard == "none":
        keep_freed_memory()
    if costly := cost_of_emulation(settings.precision, device):
        say(settings, costly)
    transformers.utils.logging.disable_progress_bar()  # the bars that matter are ours
    datasets.disable_progress_bars()


def refuse_threads(count: int) -> None:
    """Raise UserError if the system does not let this process have so many threads: PyTorch would abort."""
    if (allowed := threads_allowed(count)) < count:
        raise UserError(f"--threads {count}: the system allows no more than {allowed}; give fewer")
