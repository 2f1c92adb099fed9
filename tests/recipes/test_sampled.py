"""Lines and totals of what was sampled; with a model they are tested in `test_sample`."""

from burnish.recipes.sampled import shown, sizes


def test_sizes_are_powers_of_two_and_n() -> None:
    assert [sizes(n) for n in (1, 2, 6, 16)] == [[1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8, 16]]


def test_text_is_shown_as_one_and_a_conversation_by_message() -> None:
    asked = {"role": "user", "content": "A film?"}
    assert shown({"prompt": "a film", "completion": " is good"}) == "a film is good"
    assert shown({"prompt": [asked], "completion": "Yes."}) == "user: A film?\nassistant: Yes.\n"
    assert shown({"messages": [asked, {"role": "assistant", "content": "Yes."}]}) == (
        "user: A film?\nassistant: Yes.\n"
    )
