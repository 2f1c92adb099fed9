"""The reference policy as a table of log-probabilities.

The reference is the policy as it was when training began, so it is computed with the policy itself before the
first update, once for every row, and no second model is ever held in memory. (Where rows are made while training goes
on, a policy that trains an adapter is its own reference, with the adapter that it began with.) The table is kept on
disk under a key of everything that its bits depend on: the weights and configuration, the ids (which the tokenizer,
template, data and lengths decide), the precision, and what computes it. A change of any is another key.
"""

import contextlib
import hashlib
import json
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


@dataclass(frozen=True)
class CachedReference:
    """A policy that answers for the rows it was computed on. `values[offsets[row]:]` are a row's numbers."""

    values: Float[Tensor, "n"]
    offsets: dict[int, int]

    def logprobs(self, batch: Preferences | Feedback) -> Float[Tensor, "B G T"]:
        """The reference's log-probabilities, 0 where the mask is False. Raises KeyError for a row never computed."""
        out = torch.zeros(batch.mask.shape)
        for i, row in enumerate(batch.rows.tolist()):
            mask = batch.mask[i].cpu()
            start = self.offsets[row]
            out[i][mask] = self.values[start : start + int(mask.sum())]
        return out.to(batch.mask.device)


class StartingAdapter:
    """The reference of a policy that trains an adapter: the base that both share, and a frozen copy of the adapter.

    A new adapter adds 0, so that its reference is the base; one that was trained before is part of the reference. No
    second model is held: the two adapters change places for as long as a batch takes.
    """

    def __init__(self, policy: LanguagePolicy) -> None:
        self.policy = policy
        self.start = {name: p.detach().clone() for name, p in policy.parameters().items()}

    @torch.no_grad()
    def logprobs(self, batch: Any) -> Float[Tensor, "*lead T"]:
        """The log-probabilities that the policy gave when training began, at the temperature that it has now."""
        with self.in_place():
            return self.policy.logprobs(batch)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """The starting weights in the policy's place, without a copy."""
        parameters = self.policy.parameters()
        now = {name: p.data for name, p in parameters.items()}
        try:
            for name, parameter in parameters.items():
                parameter.data = self.start[name]
            yield
        finally:
            for name, parameter in parameters.items():
                parameter.data = now[name]


def cached_reference(
    policy: LanguagePolicy, batches: Callable[[], Iterable[Preferences | Feedback]], fingerprint: str, cache: Path
) -> CachedReference:
    """Look the table up, or compute it with `policy` as it is now and keep it.

    `batches` walks every row once; `fingerprint` identifies their ids and row numbers. A damaged file is computed
    again; where the cache cannot be written, the run goes on without.
    """
    path = cache / f"{reference_key(policy, fingerprint)}.safetensors"
    table = read_table(path)
    if table is None:
        table = compute(policy, batches())
        with contextlib.suppress(OSError, UserError):
            cache.mkdir(parents=True, exist_ok=True)
            write_atomically(path, save(table | {"sha256": checksum(table)}))
    return CachedReference(table["values"], dict(zip(table["rows"].tolist(), table["offsets"].tolist(), strict=True)))


def read_table(path: Path) -> dict[str, Tensor] | None:
    """The table at `path`; None where there is none, or not every bit is as it was written."""
    try:
        table = load_file(path)
        return table if torch.equal(table.pop("sha256"), checksum(table)) else None
    except (OSError, SafetensorError, KeyError):
        return None


def checksum(table: dict[str, Tensor]) -> Tensor:
    return torch.tensor(list(bytes.fromhex(hash_tensors(table))), dtype=torch.uint8)


@torch.no_grad()
def compute(policy: LanguagePolicy, batches: Iterable[Preferences | Feedback]) -> dict[str, Tensor]:
    """One flat vector of log-probabilities, with where each row starts in it."""
    policy.dropout(False)
    values, rows, counts = [], [], []
    for batch in batches:
        logprobs = policy.logprobs(batch)
        values.append(logprobs[batch.mask].float().cpu())
        rows.append(batch.rows.cpu())
        counts.append(batch.mask.flatten(1).sum(1).cpu())
    sizes = torch.cat(counts)
    return {"values": torch.cat(values), "rows": torch.cat(rows), "offsets": sizes.cumsum(0) - sizes}


def reference_key(policy: LanguagePolicy, fingerprint: str) -> str:
    """What the table depends on, in one word."""
    parts: tuple[str, ...] = (
        fingerprint,
        weights_hash(policy.model),
        configuration(policy.model.config),
        policy.precision,
        # Another way to compute gives other last bits, and a run must not depend on what another left in the cache.
        policy.device.type,
        str(torch.get_num_threads()),
        torch.__version__,
        transformers.__version__,
    )
    parts += () if policy.adapter is None else (arithmetic(policy.adapter),)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def configuration(config: PreTrainedConfig) -> str:
    """What a model's configuration says of its arithmetic: all but where it was loaded from."""
    content = {key: value for key, value in config.to_dict().items() if key not in ("_name_or_path", "name_or_path")}
    return json.dumps(content, sort_keys=True, default=str)


def weights_hash(model: nn.Module) -> str:
    """SHA-256 over a model's weights and their names."""
    return hash_tensors(model.state_dict())


def hash_tensors(tensors: dict[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
