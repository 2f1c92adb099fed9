"""The reference policy as a table of log-probabilities.

The reference is the policy as it was when training began, so it is computed with the policy itself before the
first update, once for every row, and no second model is ever held in memory. The table is kept on disk under a key
of everything that it depends on: the weights, the ids (which the tokenizer, template, data and lengths decide) and
the precision. A change of any is another key.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from burnish.batches import Preferences
from burnish.policies.language import LanguagePolicy
from burnish.run import write_atomically


@dataclass(frozen=True)
class CachedReference:
    """A policy that answers for the rows it was computed on. `values[offsets[row]:]` are a row's numbers."""

    values: Float[Tensor, "n"]
    offsets: dict[int, int]

    def logprobs(self, batch: Preferences) -> Float[Tensor, "B G T"]:
        """The reference's log-probabilities, 0 where the mask is False. Raises KeyError for a row never computed."""
        out = torch.zeros(batch.mask.shape)
        for i, row in enumerate(batch.rows.tolist()):
            mask = batch.mask[i].cpu()
            start = self.offsets[row]
            out[i][mask] = self.values[start : start + int(mask.sum())]
        return out.to(batch.mask.device)


def cached_reference(
    policy: LanguagePolicy, batches: Callable[[], Iterable[Preferences]], fingerprint: str, cache: Path
) -> CachedReference:
    """Look the table up, or compute it with `policy` as it is now and keep it.

    `batches` walks every row once; `fingerprint` identifies their ids. A damaged file is computed again.
    """
    path = cache / f"{reference_key(policy, fingerprint)}.safetensors"
    try:
        table = load_file(path)
    except (OSError, SafetensorError):
        table = compute(policy, batches())
        cache.mkdir(parents=True, exist_ok=True)
        write_atomically(path, save(table))
    return CachedReference(table["values"], dict(zip(table["rows"].tolist(), table["offsets"].tolist(), strict=True)))


@torch.no_grad()
def compute(policy: LanguagePolicy, batches: Iterable[Preferences]) -> dict[str, Tensor]:
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
    """What the table depends on, in one word: the weights, the kind of model, the precision and the data."""
    parts = (fingerprint, weights_hash(policy.model), policy.model.config.model_type, policy.precision)
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def weights_hash(model: nn.Module) -> str:
    """SHA-256 over a model's weights and their names."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
