"""What kind of reading an answer is."""

import pytest

from burnish.evaluation.readings import FAILED, READ, UNREAD, Reading


@pytest.mark.parametrize(
    ("reading", "kind"),
    [
        (Reading((-1.0, -2.0)), READ),
        (Reading(None, text="yes"), READ),
        (Reading(None, "no end within 4 tokens", text="ye"), UNREAD),
        (Reading(None, "B not among the likeliest"), UNREAD),
        (Reading(None), UNREAD),
        (Reading(None, "HTTP 500", failed=True), FAILED),
        (Reading(None, "HTTP 400", refused=True), UNREAD),
    ],
)
def test_an_answer_is_read_if_it_is_there_and_nothing_is_wrong_with_it(reading: Reading, kind: str) -> None:
    assert reading.kind == kind
