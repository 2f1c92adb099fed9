"""What SmolLM2 is asked to write: prompt number i of a seed, made from templates and lists of words.

Every prompt is a pure function of (seed, number): it depends on no other prompt, so that any part of the text can be
written on its own.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from burnish.recipes.writing import words

SYSTEM = "You write plain English prose."
"""Shorter than the system message of SmolLM2's template, which every prompt would have otherwise."""

KINDS = {"review": 50, "remark": 22, "everyday": 12, "story": 8, "dialogue": 4, "description": 4}
"""The kinds of texts, with their weights."""

PEOPLE, OWN, NEUTRAL = 0.4, 0.35, 0.15
"""Shares of the reviews that begin with words of people, as fits the opinion, and as any can; the rest are free."""


@dataclass(frozen=True)
class Prompt:
    """`request` is a user's message; the answer begins with `opening`, which is not sampled."""

    number: int
    kind: str
    request: str
    opening: str

    def messages(self) -> list[dict[str, str]]:
        return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": self.request}]


def prompt(seed: int, number: int, beginnings: Sequence[str]) -> Prompt:
    """Prompt `number` of a seed. `beginnings` are the first words of people's reviews, of the training part."""
    random = Random(f"write {seed} {number}")
    kind = random.choices(list(KINDS), list(KINDS.values()))[0]
    if kind in ("review", "remark"):
        return Prompt(number, kind, *review(random, kind, beginnings))
    return Prompt(number, kind, *OTHERS[kind](random))


def fill(random: Random, template: str) -> str:
    """A template with words at its places."""
    name, name_2 = random.sample(words.NAMES, 2)
    noun, noun_2 = random.sample(words.NOUNS, 2)
    adjective, place = random.choice(words.ADJECTIVES), random.choice(words.PLACES)
    filled = template.format(name=name, name_2=name_2, noun=noun, noun_2=noun_2, adjective=adjective, place=place)
    return re.sub(r"\bA (?=[AEIOU])", "An ", filled)


def title(random: Random) -> str:
    """The title of a film that does not exist."""
    return fill(random, random.choice(words.TITLES))


def review(random: Random, kind: str, beginnings: Sequence[str]) -> tuple[str, str]:
    """A request for a review of an invented film, and how it is to begin; with people's words no opinion is given."""
    level = random.randrange(len(words.OPINIONS))
    opinion, aspects = random.choice(words.OPINIONS[level]), random.sample(words.ASPECTS, 2)
    length = "one or two sentences" if kind == "remark" else random.choice(("a short paragraph", "a few sentences"))
    film = f'the {random.choice(words.GENRES)} "{title(random)}"'
    about = f" Talk about {' and '.join(aspects)}." if random.random() < 0.6 else ""
    writer = f" by {random.choice(words.VIEWERS)}" if random.random() < 0.5 else ""
    share = random.random() * (PEOPLE + OWN + NEUTRAL) if kind == "remark" else random.random()
    if share < PEOPLE:
        return f"Write a film review{writer}, {length}.{about}", random.choice(beginnings)
    verdict = f"You {words.VERDICTS[level]} it: it is {opinion}."
    request = f"Write a review{writer} of {film}, {length}. {verdict}{about}"
    if share < PEOPLE + OWN:
        return request, fill(random, random.choice(words.OPENINGS[level]))
    return request, fill(random, random.choice(words.NEUTRAL)) if share < PEOPLE + OWN + NEUTRAL else ""


def everyday(random: Random) -> tuple[str, str]:
    subject, opinion = (
        random.choice(words.SUBJECTS),
        random.choice(("a cheerful", "an angry", "a calm", "a sad", "a dry")),
    )
    return f"Write {opinion} paragraph about {subject}, in the first person.", random.choice(words.EVERYDAY_OPENINGS)


def story(random: Random) -> tuple[str, str]:
    subject, genre = random.choice(words.SUBJECTS), random.choice(words.GENRES)
    request = f"Write a very short story about {subject}, in the mood of a {genre}."
    return request, fill(random, random.choice(words.STORY_OPENINGS))


def dialogue(random: Random) -> tuple[str, str]:
    opinions = [random.choice(random.choice(words.OPINIONS)) for _ in range(2)]
    request = (
        fill(random, "{name} and {name_2} talk") + f' about the film "{title(random)}". One finds it {opinions[0]}, '
    )
    return f"{request}the other {opinions[1]}. Write their talk as a story.", random.choice(words.DIALOGUE_OPENINGS)


def description(random: Random) -> tuple[str, str]:
    genre, subject = random.choice(words.GENRES), random.choice(words.SUBJECTS)
    request = f'Tell the plot of the {genre} "{title(random)}", which has {subject} in it, in one paragraph.'
    return request, fill(
        random, random.choice([*words.NEUTRAL[:6], *words.STORY_OPENINGS[:4]])
    ) if random.random() < 0.8 else ""


OTHERS = {"everyday": everyday, "story": story, "dialogue": dialogue, "description": description}
