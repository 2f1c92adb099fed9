"""The reference policy as a table of log-probabilities.

The reference is the policy at the start of training, so the table is computed with the policy itself before the first
update, once per row, and no second model is held in memory. (Where rows are sampled during training, a policy that
trains an adapter is its own reference, with its starting adapter.) The table is kept on disk under a key of everything
that its bits depend on: weights and configuration, token ids (which depend on tokenizer, template, data and lengths),
precision, device and versions. A change of any gives another key. Together the tables have at most `MOST_BYTES`.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from transformers import PreTrainedConfig

from burnish.batches import Feedback, Preferences
from burnish.policies.language.adapters import arithmetic
from burnish.policies.language.policy import LanguagePolicy
from burnish.run import UserError, write_atomically
from burnish.run.shards import gathered
from burnish.run.versions import version
from burnish.run.world import ALONE, World

MOST_BYTES = 4 * 2**30
"""The size of the cache: about a billion tokens. The tables that were used longest ago are removed."""


@dataclass(frozen=True)
class CachedReference:
    """The reference's log-probabilities for the rows that it was computed on; `values[offsets[row]:]` are a row's."""

    values: Float[Tensor, "n"]
    offsets: dict[int, int]

    def logprobs(self, batch: Preferences | Feedback) -> Float[Tensor, "B G T"]:
        """The reference's log-probabilities, 0 where the mask is False. Raises KeyError for an unknown row."""
        out = torch.zeros(batch.mask.shape)
        for i, row in enumerate(batch.rows.tolist()):
            mask = batch.mask[i].cpu()
            start = self.offsets[row]
            out[i][mask] = self.values[start : start + int(mask.sum())]
        return out.to(batch.mask.device)


class StartingAdapter:
    """The reference of a policy that trains an adapter: the shared base with a frozen copy of the starting adapter.

    A new adapter adds 0, so its reference is the base; an adapter that was trained before is part of the reference. No
    second model is held: the two adapters are swapped while a batch is computed.
    """

    def __init__(self, policy: LanguagePolicy) -> None:
        self.lender = policy
        self.start = {name: p.detach().clone() for name, p in policy.parameters().items()}

    @torch.no_grad()
    def logprobs(self, batch: Any) -> Float[Tensor, "*lead T"]:
        """The log-probabilities of the policy at the start of training, at its current temperature."""
        with self.in_place():
            return self.lender.logprobs(batch)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Swap the starting weights in, without copying."""
        parameters = self.lender.parameters()
        now = {name: p.data for name, p in parameters.items()}
        try:
            for name, parameter in parameters.items():
                parameter.data = self.start[name]
            yield
        finally:
            for name, parameter in parameters.items():
                parameter.data = now[name]


def cached_reference(
    policy: LanguagePolicy,
    batches: Callable[[], Iterable[Preferences | Feedback]],
    fingerprint: str,
    cache: Path,
    world: World = ALONE,
) -> CachedReference:
    """Read the table from the cache, or compute it with the current `policy` and store it.

    `batches` yields every row once; `fingerprint` identifies their ids and row numbers. A damaged file is computed
    again; if the cache cannot be written, the run continues without it. The main process of the `world` reads and
    writes the cache.
    """
    path = cache / f"{reference_key(policy, fingerprint)}.safetensors"
    table = world.from_main(lambda: read_table(path))
    found = table is not None
    if table is None:
        table = compute(policy, batches(), world)
    if world.is_main:
        keep(table, path, found)
    return CachedReference(table["values"], dict(zip(table["rows"].tolist(), table["offsets"].tolist(), strict=True)))


def keep(table: dict[str, Tensor], path: Path, found: bool) -> None:
    """Write a table into the cache, or note that one was `found` there and used."""
    with contextlib.suppress(OSError, UserError):
        if found:
            os.utime(path)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, save(table | {"sha256": checksum(table)}))
            trim(path.parent, path)


def read_table(path: Path) -> dict[str, Tensor] | None:
    """The table at `path`; None where it is missing or damaged."""
    try:
        table = load_file(path)
        return table if torch.equal(table.pop("sha256"), checksum(table)) else None
    except (OSError, SafetensorError, KeyError):
        return None


def trim(cache: Path, kept: Path) -> None:
    """Remove the tables that were used longest ago until the others have at most `MOST_BYTES`; never `kept`."""
    states = {path: path.stat() for path in cache.glob("*.safetensors") if path != kept}
    size = kept.stat().st_size
    for path in sorted(states, key=lambda one: states[one].st_mtime_ns, reverse=True):
        size += states[path].st_size
        if size > MOST_BYTES:
            path.unlink(missing_ok=True)


def checksum(table: dict[str, Tensor]) -> Tensor:
    return torch.tensor(list(bytes.fromhex(hash_tensors(table))), dtype=torch.uint8)


@torch.no_grad()
def compute(
    policy: LanguagePolicy, batches: Iterable[Preferences | Feedback], world: World = ALONE
) -> dict[str, Tensor]:
    """One flat vector of log-probabilities, with the start of each row.

    Of N processes each computes every Nth batch, so that the bits do not depend on N.
    """
    policy.dropout(False)

    def of_batch(batch: Preferences | Feedback) -> tuple[Tensor, Tensor, Tensor]:
        logprobs = policy.logprobs(batch)[batch.mask].float().cpu()
        return logprobs, batch.rows.cpu(), batch.mask.flatten(1).sum(1).cpu()

    values, rows, counts = zip(*world.each(of_batch, batches, policy.divided), strict=True)
    sizes = torch.cat(counts)
    return {"values": torch.cat(values), "rows": torch.cat(rows), "offsets": sizes.cumsum(0) - sizes}


def reference_key(policy: LanguagePolicy, fingerprint: str) -> str:
    """A hash of everything that the table depends on."""
    parts: tuple[str, ...] = (
        fingerprint,
        weights_hash(policy.model),
        configuration(policy.model.config),
        policy.precision,
        policy.padded or ("joined" if policy.joins else "packed"),
        # These change the last bits, and a run must not depend on what another one left in the cache.
        processor(policy.device),
        str(torch.get_num_threads()),
        torch.__version__,
        transformers.__version__,
        version("burnish"),
    )
    parts += () if policy.adapter is None else (arithmetic(policy.adapter),)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def processor(device: torch.device) -> str:
    """The kind of device that rounds: the processor's instructions, or the name of the GPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} {torch.backends.cpu.get_cpu_capability()}" if device.type == "cpu" else device.type


def configuration(config: PreTrainedConfig) -> str:
    """A model's configuration without the place that it was loaded from, as text."""
    content = {key: value for key, value in config.to_dict().items() if key not in ("_name_or_path", "name_or_path")}
    return json.dumps(content, sort_keys=True, default=str)


def weights_hash(model: nn.Module) -> str:
    """SHA-256 of a model's weights and their names; processes that divide them have to call this together."""
    return hash_tensors(model.state_dict())


def hash_tensors(tensors: dict[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and bytes."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = gathered(tensors[name].detach()).cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
