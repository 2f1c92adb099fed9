"""Prompts are functions of seed and number, in the shares that are stated, and have no place left open."""

import hashlib
import json
from collections import Counter
from dataclasses import asdict

import pytest

from burnish.recipes.writing.prompts import KINDS, SYSTEM, Prompt, prompt

BEGINNINGS = ["Hardly a film that", "Never before has", "Plympton is"]


@pytest.fixture(scope="module")
def many() -> list[Prompt]:
    return [prompt(0, number, BEGINNINGS) for number in range(4000)]


def test_prompts_never_change(many: list[Prompt]) -> None:
    """Shards that were written with other prompts would not fit to new ones."""
    found = hashlib.sha256(json.dumps([asdict(one) for one in many]).encode()).hexdigest()
    assert found[:16] == "3678850169a37404"


def test_a_prompt_depends_on_seed_and_number_alone(many: list[Prompt]) -> None:
    assert prompt(0, 7, BEGINNINGS) == many[7] != prompt(1, 7, BEGINNINGS)
    assert len({one.request for one in many}) > 3000


def test_kinds_have_their_shares(many: list[Prompt]) -> None:
    """Of 4,000 draws a share p deviates by less than 5 standard deviations, at most 0.04."""
    counts = Counter(one.kind for one in many)
    assert counts.keys() == KINDS.keys()
    for kind, weight in KINDS.items():
        share = weight / sum(KINDS.values())
        assert abs(counts[kind] / len(many) - share) < 5 * (share * (1 - share) / len(many)) ** 0.5


def test_nothing_is_left_open_and_a_vowel_has_its_article(many: list[Prompt]) -> None:
    for one in many:
        assert not set("{}") & set(one.request + one.opening)
        assert "A O" not in one.request
        assert one.opening == one.opening.strip()


def test_two_in_five_reviews_begin_with_words_of_people(many: list[Prompt]) -> None:
    """And no request for them names an opinion, which the words might not fit."""
    reviews = [one for one in many if one.kind == "review"]
    begun = [one for one in reviews if one.opening in BEGINNINGS]
    assert abs(len(begun) / len(reviews) - 0.4) < 0.06
    assert not any("You " in one.request for one in begun)


def test_a_prompt_is_a_short_dialogue() -> None:
    system, user = Prompt(0, "story", "Tell a story.", "Once").messages()
    assert (system, user) == ({"role": "system", "content": SYSTEM}, {"role": "user", "content": "Tell a story."})
