from burnish.evaluation.memory import longest_copy


def test_the_longest_shared_run_of_words() -> None:
    corpus = ["a film of great charm", "the plot is thin"]
    assert longest_copy(["This: a FILM, of great beauty", "the plot"], corpus) == (4, "a film of great")


def test_a_run_does_not_cross_from_one_text_into_the_next() -> None:
    assert longest_copy(["charm the plot"], ["great charm", "the plot is thin"]) == (2, "the plot")


def test_a_whole_text_can_be_a_copy() -> None:
    assert longest_copy(["one two three"], ["zero one two three four"])[0] == 3


def test_nothing_shared() -> None:
    assert longest_copy(["new words"], ["old text"]) == (0, "")
    assert longest_copy([], ["old text"]) == (0, "")
    assert longest_copy(["new words"], []) == (0, "")
