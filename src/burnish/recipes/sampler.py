"""The sampler of a command: the policy's own, or the one that `--sampler` names."""

from pathlib import Path

from burnish.config import Settings, refuse
from burnish.config.checks import sampler_options
from burnish.policies.interface import Sampler
from burnish.policies.language.policy import LanguagePolicy
from burnish.policies.language.sampler import PolicySampler
from burnish.policies.language.served import ServedSampler
from burnish.run.world import ALONE, World

SAMPLER = "sampler"
"""The folder of a run in which weights are handed over."""


def sampler_of(
    policy: LanguagePolicy,
    settings: Settings,
    world: World = ALONE,
    folder: Path | None = None,
    scoring: bool = False,
) -> Sampler:
    """What samples for a policy; with `scoring` the policy scores all that a sampler elsewhere draws.

    Raises UserError where the server does not answer, or has another model.
    """
    refuse(sampler_options(settings))
    if settings.sampler is None:
        return PolicySampler(policy, world)
    timeout, bound = settings.sampler_timeout, settings.sampler_bound
    return ServedSampler(policy, settings.sampler, folder, timeout=timeout, bound=bound, world=world, scoring=scoring)


def loaded_sampler(policy: LanguagePolicy, settings: Settings, world: World = ALONE) -> Sampler:
    """`sampler_of` for a policy that does not change any more, and whose completions nobody else scores."""
    found = sampler_of(policy, settings, world, scoring=True)
    found.load(policy.parameters(), 0)
    return found
