"""How good the English of the embedded model is, beside people's: one set of measures for any model."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from burnish.data import builtin
from burnish.evaluation.continuations import continue_prompts
from burnish.evaluation.english import fluency, invented, perplexity
from burnish.evaluation.memory import longest_copy
from burnish.evaluation.text import distinct_n, words
from burnish.policies.language.policy import LanguagePolicy

SAMPLES, MOST_TOKENS = 500, 96
PAIRS = 30
MOST_SHOWN = 30


def measure(
    policy: LanguagePolicy,
    training: Sequence[str],
    exists: Callable[[str], bool],
    judge: LanguagePolicy | None = None,
    samples: int = SAMPLES,
) -> dict[str, Any]:
    """Perplexity of the held-out film reviews; and of `samples` continuations of their beginnings, beside what people
    wrote there, `properties`. Ten unprompted samples are among what is returned, as they came, and all continuations.
    """
    reviews = list(builtin.demonstrations("held_out")["text"])
    beginnings = builtin.prefixes("held_out", samples)
    prompts, theirs = list(beginnings["prompt"]), list(beginnings["text"])
    found = perplexity(policy, reviews)
    ours = sampled(policy, prompts)
    return {
        "parameters": sum(p.numel() for p in policy.parameters().values()),
        "held_out": {
            "perplexity_per_token": found.per_token,
            "perplexity_per_word": found.per_word,
            "perplexity_per_byte": found.per_byte,
            "tokens": found.tokens,
            "words": found.words,
            "bytes": found.bytes,
        },
        "ours": properties(prompts, ours, training, exists, judge),
        "people": properties(prompts, theirs, training, exists, judge),
        "samples": sampled(policy, [""] * min(10, samples)),
        "continuations": [list(row) for row in zip(prompts, ours, theirs, strict=True)],
    }


def sampled(policy: LanguagePolicy, prompts: Sequence[str]) -> list[str]:
    """The prompts with what the policy writes after them: temperature 1, nothing cut off, seed 0."""
    ids = [policy.tokenizer(prompt)["input_ids"] for prompt in prompts]
    return continue_prompts(policy, list(prompts), ids, seed=0, max_new_tokens=MOST_TOKENS).texts


def properties(
    prompts: Sequence[str],
    texts: Sequence[str],
    training: Sequence[str],
    exists: Callable[[str], bool],
    judge: LanguagePolicy | None,
) -> dict[str, Any]:
    """What can be said of texts that begin with `prompts`: of what follows these, but for `nats`, of the whole texts.

    `nats` are the judge's per token (see `fluency`), None without one; `invented` is the share of words that do not
    exist, and `copy` the longest run of words that stands in a training text.
    """
    after = [text.removeprefix(prompt) for text, prompt in zip(texts, prompts, strict=True)]
    made_up, (copied, passage) = invented(after, exists), longest_copy(after, training)
    return {
        "nats": None if judge is None else fluency(judge, texts),
        "invented": made_up.share,
        "invented_words": made_up.words[:MOST_SHOWN],
        "copy": copied,
        "copied": passage,
        "distinct_2": distinct_n(after, 2),
        "words": sum(len(words(text)) for text in after) / len(after),
    }


def blind_page(continuations: Sequence[Sequence[str]], pairs: int = PAIRS, seed: int = 0) -> str:
    """A page in Markdown with the first `pairs` continuations beside people's own, in random order, answers last.

    `continuations` are triples: the beginning, the model's text, the review that begins so.
    """
    random = Random(f"blind page {seed}")
    page, answers = ["# Which of the two did a person write?\n"], []
    for number, (prompt, ours, theirs) in enumerate(continuations[:pairs], start=1):
        first = random.random() < 0.5
        shown = (theirs, ours) if first else (ours, theirs)
        answers.append(f"{number}{'A' if first else 'B'}")
        page.append(f"**{number}.** {prompt} …\n")
        page += [f"- {letter}: {text}" for letter, text in zip("AB", shown, strict=True)] + [""]
    return "\n".join([*page, f"<details><summary>Answers</summary>{', '.join(answers)}</details>", ""])
