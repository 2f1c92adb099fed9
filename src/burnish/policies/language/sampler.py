"""Sampling completions.

Every row draws from its own random stream, made from the seed and the row's stream number: two completions of one
prompt never share a stream, and a row's text does not depend on the other rows. By default the temperature is the only
knob; `top_k`, `top_p` and `stops` are for showing text, not for training.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

import torch
from jaxtyping import Float, Int
from torch import Tensor

from burnish.policies.interface import Sampled, SamplingKnobs
from burnish.policies.language.parts import head
from burnish.policies.language.policy import LanguagePolicy
from burnish.policies.language.stops import Stops
from burnish.policies.language.texts import CachedTexts, WholeTexts
from burnish.run import UserError, warn


class PolicySampler:
    """The sampler in this process: it draws from the policy as it is."""

    exact = True

    def __init__(self, policy: LanguagePolicy) -> None:
        self.policy, self.version = policy, 0

    def sample(self, prompts: Sequence[Sequence[int]], streams: Sequence[int], knobs: SamplingKnobs) -> Sampled:
        """One completion per prompt, see `sample`."""
        found = sample(
            self.policy,
            prompts,
            seed=knobs.seed,
            max_new_tokens=knobs.max_new_tokens,
            temperature=knobs.temperature,
            top_k=knobs.top_k,
            top_p=knobs.top_p,
            streams=streams,
        )
        return replace(found, version=self.version)

    def load(self, weights: Mapping[str, Tensor], version: int) -> None:
        """Note the version: the weights are the policy's own, and already in place."""
        self.version = version


def uniforms(seed: int, streams: Sequence[int], count: int) -> Float[Tensor, "N count"]:
    """`count` uniform numbers per stream; stream i of a seed does not depend on the other streams."""
    rows = []
    for stream in streams:
        digest = hashlib.sha256(f"sample {seed} {stream}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
        rows.append(torch.rand(count, generator=generator, dtype=torch.float64))
    return torch.stack(rows)


@torch.no_grad()
def sample(
    policy: LanguagePolicy,
    prompts: Sequence[Sequence[int]],
    *,
    seed: int,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    stops: Stops | None = None,
    streams: Sequence[int] | None = None,
    rows_at_once: int = 256,
) -> Sampled:
    """Sample one completion per prompt (a list of ids); repeat a prompt to get several.

    `streams` numbers the rows' random streams (default 0, 1, 2 …). A completion ends with one of the policy's ends,
    after `max_new_tokens` tokens, at the end of the model's context, or where its rotary positions change with the
    length. With `stops` it also ends with the token that completes one of these texts: see `Stops.cut`. Raises
    UserError for an empty prompt, one that leaves no room for a completion, and invalid knobs.
    """
    check_knobs(max_new_tokens, temperature, top_k, top_p)
    streams = range(len(prompts)) if streams is None else streams
    room = limits_of(policy, prompts, max_new_tokens)
    policy.dropout(False)
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))  # rows of similar length waste little padding
    tokens: list[list[int]] = [[] for _ in prompts]
    logprobs: list[list[float]] = [[] for _ in prompts]
    for rows in parts_of(order, kinds_of(policy, prompts), rows_at_once):
        limits = [room[i] for i in rows]
        noise = uniforms(seed, [streams[i] for i in rows], max(limits))
        chosen, scores = _decode(policy, [prompts[i] for i in rows], limits, noise, temperature, top_k, top_p, stops)
        for i, ids, values in zip(rows, chosen, scores, strict=True):
            tokens[i], logprobs[i] = ids, values
    return Sampled(tokens, logprobs, [policy.ends.ended(ids) for ids in tokens])


def check_knobs(max_new_tokens: int, temperature: float, top_k: int | None, top_p: float | None) -> None:
    """Raise UserError for invalid knobs."""
    if max_new_tokens < 1:
        raise UserError(f"max_new_tokens must be at least 1, not {max_new_tokens}")
    if not 0 < temperature < math.inf:
        raise UserError(f"temperature must be above 0, not {temperature}; top_k = 1 takes the likeliest token")
    if top_k is not None and top_k < 1:
        raise UserError(f"top_k must be at least 1, not {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise UserError(f"top_p must lie above 0 and at most at 1, not {top_p}")


def stream_tokens(
    policy: LanguagePolicy,
    prompt: Sequence[int],
    *,
    seed: int,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    stream: int = 0,
) -> Iterator[int]:
    """The ids that `sample` returns for one prompt and this random stream, each as soon as it is drawn.

    The end is among them. Raises UserError as `sample` does, when the first id is requested.
    """
    check_knobs(max_new_tokens, temperature, top_k, top_p)
    limits = limits_of(policy, [prompt], max_new_tokens)
    policy.dropout(False)
    noise = uniforms(seed, [stream], limits[0])
    for _, chosen, _ in _steps(policy, [prompt], limits, noise, temperature, top_k, top_p):
        yield chosen[0]


def limits_of(policy: LanguagePolicy, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> list[int]:
    """The largest number of tokens of each prompt's completion, limited by the context.

    A completion also ends where the rotary positions of all its tokens would change: its first tokens would have other
    log-probabilities in the whole row than those that they were drawn with. Raises UserError for a prompt that is empty
    or leaves no room.
    """
    context, scaling = policy.context or 2**31, policy.scaling
    limits, changes = [], None
    for i, prompt in enumerate(prompts):
        longest = context if scaling is None else min(context, scaling.longest(len(prompt)) or context)
        if not prompt or len(prompt) >= longest:
            problem = "is empty" if not prompt else f"has {len(prompt)} tokens and the model's context {context}"
            if prompt and longest < context:
                problem = f"has {len(prompt)} tokens, and behind them the model's rotary positions change"
            raise UserError(f"prompt {i} {problem}: give a prompt that leaves room for a completion")
        policy.check_token(max(prompt), f"prompt {i}")
        limits.append(min(max_new_tokens, longest - len(prompt)))
        if longest < context and limits[-1] < max_new_tokens:
            changes = longest
    if changes is not None:
        warn(f"completions end at {changes} tokens, where the model's rotary positions change")
    return limits


def kinds_of(policy: LanguagePolicy, prompts: Sequence[Sequence[int]]) -> list[int]:
    """Numbers of the prompts: those with the same number may be read together."""
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    return [0] * len(prompts) if policy.scaling is None else policy.scaling.kinds(lengths).tolist()


def parts_of(order: Sequence[int], kinds: Sequence[int], most: int) -> Iterator[list[int]]:
    """The rows of `order` in parts of at most `most` rows of the same kind."""
    for _, same in groupby(order, key=lambda i: kinds[i]):
        rows = list(same)
        yield from (rows[start : start + most] for start in range(0, len(rows), most))


def _decode(
    policy: LanguagePolicy,
    prompts: Sequence[Sequence[int]],
    limits: Sequence[int],
    noise: Float[Tensor, "N S"],
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    stops: Stops | None,
) -> tuple[list[list[int]], list[list[float]]]:
    """The prompts' whole completions, with their log-probabilities."""
    tokens: list[list[int]] = [[] for _ in prompts]
    logprobs: list[list[float]] = [[] for _ in prompts]
    stopped = None if stops is None else lambda row: stops.reached(prompts[row], tokens[row])
    for rows, chosen, values in _steps(policy, prompts, limits, noise, temperature, top_k, top_p, stopped):
        for row, token, value in zip(rows, chosen, values, strict=True):
            tokens[row].append(token)
            logprobs[row].append(value)
    return tokens, logprobs


@torch.no_grad()
def _steps(
    policy: LanguagePolicy,
    prompts: Sequence[Sequence[int]],
    limits: Sequence[int],
    noise: Float[Tensor, "N S"],
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    stopped: Callable[[int], bool] | None = None,
) -> Iterator[tuple[list[int], list[int], list[float]]]:
    """Decode prompts together, dropping rows from the batch as they end.

    Each step yields the unfinished rows, their next tokens and the log-probabilities of these tokens. After that, rows
    for which `stopped` is True end too.
    """
    device, texts = policy.device, texts_of(policy, prompts)
    ends = torch.tensor(policy.ends.ids, dtype=torch.long, device=device)
    alive, room = torch.arange(len(prompts)), torch.tensor(limits)
    for step in range(noise.shape[1]):
        with policy.autocast():
            logits = head(policy.model, texts.states())
        distribution = log_distribution(logits, temperature, top_k, top_p)
        chosen = draw(distribution, noise[alive, step].to(device))
        picked = distribution.gather(1, chosen[:, None])[:, 0].tolist()
        if not all(map(math.isfinite, picked)):
            raise UserError(
                "the model gives probabilities that are not finite: its weights are damaged, or its training diverged"
            )
        yield alive.tolist(), chosen.tolist(), picked
        going = ~torch.isin(chosen, ends) & (room[alive] > step + 1).to(device)
        if stopped is not None:
            going &= torch.tensor([not stopped(row) for row in alive.tolist()], device=device)
        if not going.any():
            break
        kept = None if going.all() else going.nonzero()[:, 0]
        if kept is not None:
            chosen, alive = chosen[kept], alive[kept.cpu()]
        texts.extend(chosen, kept)


def texts_of(policy: LanguagePolicy, prompts: Sequence[Sequence[int]]) -> CachedTexts | WholeTexts:
    """The prompts, to be read with the model's cache where it agrees with reading the whole text."""
    if policy.uncached is None:
        return CachedTexts(policy.model, prompts)
    config = policy.model.config
    warn(
        f"{config.name_or_path} ({config.model_type}) {policy.uncached}: every token is drawn after reading the whole "
        "text again, which is right but slow"
    )
    return WholeTexts(policy.model, prompts)


def log_distribution(
    logits: Float[Tensor, "N V"], temperature: float, top_k: int | None = None, top_p: float | None = None
) -> Float[Tensor, "N V"]:
    """The log-probabilities that tokens are drawn from: temperature, then the `top_k` largest, then the smallest set
    of probability `top_p` (Holtzman et al. 2020), normalised. In float32 or wider; −∞ for excluded tokens."""
    logits = (logits if logits.dtype == torch.float64 else logits.float()) / temperature
    if top_k is not None:
        threshold = logits.topk(min(top_k, logits.shape[-1])).values[..., -1:]
        logits = logits.masked_fill(logits < threshold, -torch.inf)
    if top_p is not None:
        ordered, index = logits.softmax(-1).sort(descending=True, stable=True)
        beyond = ordered.cumsum(-1) - ordered >= top_p  # the token that crosses top_p stays
        logits = logits.masked_fill(beyond.scatter(-1, index, beyond), -torch.inf)
    return logits.log_softmax(-1)


def draw(distribution: Float[Tensor, "N V"], uniform: Float[Tensor, "N"]) -> Int[Tensor, "N"]:
    """Inverse-CDF sampling: the first token whose cumulative probability exceeds the uniform number."""
    cumulative = distribution.double().exp().cumsum(-1)
    scaled = uniform[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, scaled, right=True)[:, 0].clamp(max=distribution.shape[-1] - 1)
