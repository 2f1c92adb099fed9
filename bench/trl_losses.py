"""Every preference loss beside TRL's, on the same fixed log-probabilities: losses and their gradients.

Both sides get one table of log-probabilities of tokens, of policy and reference, in float64. Burnish's algorithms read
it through a policy that looks it up; TRL's trainers run their own `_compute_loss` (or `get_batch_loss_metrics`) with a
model that answers from it. Nothing is trained. Prints a Markdown table; exit status 1 where a row is not as it is said
to be.
"""

import sys
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from importlib import metadata
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from trl import DPOTrainer, KTOTrainer, RewardTrainer
from trl.experimental.cpo import CPOTrainer
from trl.experimental.orpo import ORPOTrainer

import burnish
from burnish.batches import Feedback, Preferences
from burnish.policies.interface import Models
from burnish.training.step import objective, prepared

ROWS, COLUMNS, PROMPT = 6, 9, 3
TOLERANCE = 1e-6
LENGTHS = torch.tensor([[9, 6], [5, 9], [8, 4], [4, 4], [7, 9], [9, 8]])

generator = torch.Generator().manual_seed(0)
TABLE = -torch.rand(ROWS, 2, COLUMNS, dtype=torch.float64, generator=generator) - 0.05
REFERENCE = TABLE + 0.3 * torch.randn(TABLE.shape, dtype=torch.float64, generator=generator)
MASK = (torch.arange(COLUMNS) >= PROMPT) & (torch.arange(COLUMNS) < LENGTHS[..., None])
READ = torch.arange(COLUMNS) < LENGTHS[..., None]
MARGINS = torch.rand(ROWS, dtype=torch.float64, generator=generator)
SCORES = torch.randn(ROWS, 2, dtype=torch.float64, generator=generator)
DESIRABLE = torch.tensor([True, False, False, True, True, False])


class Looked:
    """A policy, a reference or a scorer that answers from a table."""

    def __init__(self, values: Tensor) -> None:
        self.values = values

    def logprobs(self, batch: Any) -> Tensor:
        if batch.tokens.dim() == 3:
            return self.values
        # Of feedback one response at a time is asked for; its tokens say which.
        return self.values[torch.arange(ROWS), batch.tokens[:, 0]]

    def logprobs_and_entropy(self, batch: Any) -> tuple[Tensor, Tensor]:
        return self.logprobs(batch), torch.zeros_like(self.logprobs(batch))

    def scores(self, batch: Any) -> Tensor:
        return self.values

    def parameters(self) -> dict[str, Any]:
        return {}

    def dropout(self, on: bool) -> None:
        """There is none."""


def ours(algorithm: Any, table: Tensor, told: bool = False) -> Tensor:
    """The loss of an algorithm of Burnish as the step has it."""
    tokens = torch.arange(2)[:, None].expand(ROWS, 2, COLUMNS)
    reference = Looked(REFERENCE)
    if isinstance(algorithm, burnish.KTO):
        batch: Any = Feedback(tokens, MASK, LENGTHS, torch.arange(ROWS), DESIRABLE)
    else:
        batch = Preferences(tokens, MASK, LENGTHS, torch.arange(ROWS), MARGINS if told else None)
    scorer = isinstance(algorithm, burnish.RewardModel)
    models = Models(scorer=Looked(table)) if scorer else Models(policy=Looked(table), reference=reference)
    (ready,) = prepared(algorithm, models, [batch], {})
    return objective(algorithm.loss(models, ready), ready.counts())


def trainer(**options: Any) -> Any:
    """What TRL's methods ask of `self`, without a model, data or processes."""
    same = lambda x: x  # noqa: E731
    alone = SimpleNamespace(gather=same, gather_for_metrics=same, device=torch.device("cpu"))
    common = {
        "model": SimpleNamespace(training=True),
        "accelerator": alone,
        "aux_loss_enabled": False,
        "_metrics": defaultdict(lambda: defaultdict(list)),
        "_total_train_tokens": 0,
        "_tp_size": 1,
        "args": SimpleNamespace(gradient_checkpointing_kwargs=None, center_rewards_coefficient=None),
    }
    return SimpleNamespace(**common | options)


def answers(table: Tensor, mask: Tensor) -> Callable[..., Any]:
    """A model of TRL's, which gives log-probabilities of the tokens behind the first, and nothing else of interest."""
    logprobs = torch.where(mask, table, 0.0)[:, 1:]
    nothing = torch.zeros_like(logprobs).detach()
    return lambda **inputs: SimpleNamespace(
        log_probs=logprobs, entropy=nothing, mean_logits=nothing, is_top1=nothing.bool()
    )


def both(x: Tensor) -> Tensor:
    """Chosen rows, then rejected rows."""
    return torch.cat([x[:, 0], x[:, 1]])


def trl_dpo(table: Tensor, *kinds: str, weights: tuple[float, ...] = (1.0,), **options: Any) -> Tensor:
    sums = torch.where(MASK, REFERENCE, 0.0).sum(-1).to(table.dtype)
    inputs = {
        "input_ids": torch.ones(2 * ROWS, COLUMNS, dtype=torch.long),
        "attention_mask": both(READ).long(),
        "completion_mask": both(MASK).long(),
        "ref_chosen_logps": sums[:, 0],
        "ref_rejected_logps": sums[:, 1],
    }
    common = {"ld_alpha": None, "precompute_ref_logps": True, "f_divergence_type": "reverse_kl", "use_weighting": False}
    self = trainer(
        **common | {"beta": 0.5, "label_smoothing": 0.0, "loss_types": kinds, "loss_weights": weights} | options
    )
    return DPOTrainer._compute_loss(self, answers(both(table), both(MASK)), inputs, False)


def trl_kto(table: Tensor, **options: Any) -> Tensor:
    ids, sums = torch.ones(ROWS, COLUMNS, dtype=torch.long), torch.where(MASK, REFERENCE, 0.0).sum(-1)
    inputs = {
        "input_ids": ids,
        "attention_mask": READ[:, 0].long(),
        "completion_mask": MASK[:, 0].long(),
        "KL_input_ids": ids,
        "KL_attention_mask": READ[:, 1].long(),
        "KL_completion_mask": MASK[:, 1].long(),
        "label": DESIRABLE,
        "ref_logps": sums[:, 0],
        "ref_KL_logps": sums[:, 1],
    }

    def model(**given: Any) -> Any:
        which = 1 if torch.equal(given["attention_mask"], READ[:, 1].long()) else 0
        return answers(table[:, which], MASK[:, which])(**given)

    self = trainer(loss_type="kto", calculate_KL=True, precompute_ref_logps=True, **options)
    self._compute_kl_logps = lambda *given: KTOTrainer._compute_kl_logps(self, *given)
    loss = KTOTrainer._compute_loss(self, model, inputs, False)
    return loss if isinstance(loss, Tensor) else loss[0]


def trl_reward(scores: Tensor, margin: bool = False, centre: float | None = None) -> Tensor:
    self = trainer(args=SimpleNamespace(center_rewards_coefficient=centre))
    inputs: dict[str, Any] = {"attention_mask": both(READ).long()} | ({"margin": MARGINS} if margin else {})
    return RewardTrainer.compute_loss(self, lambda **given: SimpleNamespace(logits=both(scores)[:, None]), inputs)


def trl_without_reference(cls: Any, table: Tensor, **options: Any) -> Tensor:
    """CPO's and ORPO's trainers see logits: here of a vocabulary of two words, of which every token is the second."""
    logprobs = both(table)
    logits = torch.stack([(-logprobs.exp()).log1p(), logprobs], -1)
    logits = torch.cat([logits[:, 1:], logits[:, :1]], 1)  # what is said of a token stands before it
    batch = {}
    for i, side in enumerate(("chosen", "rejected")):
        batch[f"{side}_input_ids"] = torch.ones(ROWS, COLUMNS, dtype=torch.long)
        batch[f"{side}_attention_mask"] = READ[:, i].long()
        batch[f"{side}_labels"] = torch.where(MASK[:, i], 1, -100)
    common = {
        "is_encoder_decoder": False,
        "pad_token_id": 0,
        "padding_value": 0,
        "label_smoothing": 0.0,
        "alpha": 0.0,
        "cpo_alpha": 0.0,
    }
    self = trainer(**common | {"simpo_gamma": 0.0, "loss_type": "sigmoid"} | options)
    for name in ("concatenated_inputs", "get_batch_logps"):
        setattr(self, name, getattr(cls, name))
    for name in ("concatenated_forward", "cpo_loss", "odds_ratio_loss"):
        if hasattr(cls, name):
            setattr(self, name, partial(getattr(cls, name), self))
    return cls.get_batch_loss_metrics(self, lambda *given, **more: SimpleNamespace(logits=logits), batch)[0]


def means(table: Tensor) -> tuple[Tensor, Tensor]:
    """The mean log-probability of a token, of chosen and of rejected responses."""
    return torch.where(MASK, table, 0.0).sum(-1).div(MASK.sum(-1)).unbind(-1)


def odds(table: Tensor) -> Tensor:
    return 0.1 * burnish.functional.orpo_odds(*means(table)).mean()


def trl_odds(table: Tensor) -> Tensor:
    return -ORPOTrainer.odds_ratio_loss(trainer(beta=0.1), *means(table))[0].mean()


def compared(one: Callable[[Tensor], Tensor], other: Callable[[Tensor], Tensor], table: Tensor) -> tuple[Tensor, ...]:
    """Both losses, and the largest difference of the two and of their gradients."""
    found = []
    for loss in (one, other):
        leaf = table.clone().requires_grad_()
        value = loss(leaf)
        found.append((value.detach().double(), torch.autograd.grad(value, leaf)[0]))
    (a, slope_a), (b, slope_b) = found
    return a, b, (a - b).abs(), (slope_a - slope_b).abs().max()


def dpo(**options: Any) -> Callable[[Tensor], Tensor]:
    return lambda table: ours(burnish.DPO(beta=0.5, **options), table)


def at(algorithm: Any, told: bool = False) -> Callable[[Tensor], Tensor]:
    return lambda table: ours(algorithm, table, told)


def theirs(*kinds: str, **options: Any) -> Callable[[Tensor], Tensor]:
    return lambda table: trl_dpo(table, *kinds, **options)


def single(table: Tensor) -> Tensor:
    """TRL's α-divergence knows float32 and shorter alone."""
    return trl_dpo(table.float(), "sigmoid", f_divergence_type="alpha_divergence", f_alpha_divergence_coef=0.7)


B = burnish
# Burnish, TRL, the two losses, and why they differ; where they do not, nothing.
LINES: list[tuple[str, str, Callable[[Tensor], Tensor], Callable[[Tensor], Tensor], str]] = [
    ("`dpo`", "DPO `sigmoid`", dpo(), theirs("sigmoid"), ""),
    ("`dpo`, length_normalised", "DPO `sigmoid_norm`", dpo(length_normalised=True), theirs("sigmoid_norm"), ""),
    (
        "`dpo`, divergence forward_kl",
        "`forward_kl`",
        dpo(divergence="forward_kl"),
        theirs("sigmoid", f_divergence_type="forward_kl"),
        "",
    ),
    (
        "`dpo`, divergence js",
        "`js_divergence`",
        dpo(divergence="js"),
        theirs("sigmoid", f_divergence_type="js_divergence"),
        "",
    ),
    (
        "`dpo`, divergence alpha, alpha 0.3",
        "`alpha_divergence`, coefficient 0.7",
        dpo(divergence="alpha", alpha=0.3),
        single,
        "",
    ),
    (
        "`dpo`, nll_weight 0.2",
        "`sigmoid` + 0.2 · `sft`",
        dpo(nll_weight=0.2),
        theirs("sigmoid", "sft", weights=(1.0, 0.2)),
        "",
    ),
    (
        "`dpo`, label_smoothing 0.1",
        "`sigmoid`, label_smoothing 0.1",
        dpo(label_smoothing=0.1),
        theirs("sigmoid", label_smoothing=0.1),
        "TRL's `sigmoid` accepts label_smoothing and ignores it",
    ),
    (
        "`robust_dpo`, label_smoothing 0.1",
        "DPO `robust`",
        at(B.RobustDPO(0.5, 0.1)),
        theirs("robust", label_smoothing=0.1),
        "",
    ),
    ("`hinge`", "DPO `hinge`", at(B.Hinge(0.5)), theirs("hinge"), ""),
    ("`ipo`, log_ratios mean", "DPO `ipo`", at(B.IPO(0.5, log_ratios="mean")), theirs("ipo"), ""),
    (
        "`ipo`",
        "DPO `ipo`",
        at(B.IPO(0.5)),
        theirs("ipo"),
        "the paper's log-ratios are of whole responses, TRL's are means over tokens: log_ratios says which",
    ),
    ("`exo`", "DPO `exo_pair`", at(B.EXO(0.5)), theirs("exo_pair", label_smoothing=1e-3), ""),
    ("`nca`", "DPO `nca_pair`", at(B.NCA(0.5)), theirs("nca_pair"), ""),
    ("`sppo`", "DPO `sppo_hard`", at(B.SPPO(0.5)), theirs("sppo_hard"), ""),
    ("`apo_zero`", "DPO `apo_zero`", at(B.APOZero(0.5)), theirs("apo_zero"), ""),
    ("`apo_down`", "DPO `apo_down`", at(B.APODown(0.5)), theirs("apo_down"), ""),
    (
        "`kto`, weights 1.2 and 0.7",
        "KTO",
        at(B.KTO(0.5, 1.2, 0.7)),
        lambda table: trl_kto(table, beta=0.5, desirable_weight=1.2, undesirable_weight=0.7),
        "",
    ),
    (
        "`cpo`",
        "CPO `sigmoid`",
        at(B.CPO(0.5)),
        lambda table: trl_without_reference(CPOTrainer, table, beta=0.5, cpo_alpha=1.0),
        "",
    ),
    (
        "`simpo`, gamma 0.6",
        "CPO `simpo`, simpo_gamma 0.6",
        at(B.SimPO(2.0, 0.6)),
        lambda table: trl_without_reference(CPOTrainer, table, beta=2.0, loss_type="simpo", simpo_gamma=0.6),
        "",
    ),
    (
        "`orpo`",
        "ORPO",
        at(B.ORPO(0.1)),
        lambda table: trl_without_reference(ORPOTrainer, table, beta=0.1),
        "TRL's NLL includes the prompt, Burnish's only the response; the odds ratios are the same",
    ),
    ("`orpo`'s odds alone", "ORPO's `odds_ratio_loss`", odds, trl_odds, ""),
    ("`reward`", "Reward", at(B.RewardModel()), trl_reward, ""),
    (
        "`reward`, margin_weight 1",
        "Reward with `margin`",
        at(B.RewardModel(margin_weight=1.0), told=True),
        lambda scores: trl_reward(scores, margin=True),
        "",
    ),
    (
        "`reward`, centre_coefficient 0.01",
        "center_rewards_coefficient 0.01",
        at(B.RewardModel(0.01)),
        lambda scores: trl_reward(scores, centre=0.01),
        "",
    ),
]


def main() -> int:
    print(f"TRL {metadata.version('trl')}, PyTorch {torch.__version__}; {ROWS} pairs, β = ½ unless stated otherwise\n")
    print("| Burnish | TRL | Burnish's loss | TRL's loss | gradients differ by | |")
    print("|---|---|---|---|---|---|")
    amiss = 0
    for name, peer, one, other, why in LINES:
        a, b, values, slopes = compared(one, other, SCORES if name.startswith("`reward`") else TABLE)
        agrees = bool(values <= TOLERANCE) and bool(slopes <= TOLERANCE)
        amiss += agrees == bool(why)
        verdict = "agrees" if agrees else f"differs: {why or 'NOT EXPECTED'}"
        print(f"| {name} | {peer} | {a.item():.6f} | {b.item():.6f} | {slopes.item():.0e} | {verdict} |")
    return 1 if amiss else 0


if __name__ == "__main__":
    sys.exit(main())
