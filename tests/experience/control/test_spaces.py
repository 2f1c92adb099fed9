import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Sequence, Text, Tuple

from burnish.experience.control.spaces import (
    RESCALED_ACTIONS,
    action_writer,
    observation_reader,
    unplayable,
    unsuited,
)
from burnish.run import UserError


def test_a_box_is_read_row_by_row() -> None:
    read = observation_reader(Box(-1, 1, (2, 2)), "x")
    batch = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    assert read.size == 4
    assert read(batch).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert read([batch[0]]).tolist() == [[0, 1, 2, 3]]
    assert not np.shares_memory(read(batch), batch)
    for wrong in (batch[:, 0], batch[:1].repeat(2, axis=2)):
        with pytest.raises(ValueError, match=r"an observation of shape \(2,.*\) where Box\(.*\) was declared"):
            read(wrong)


@pytest.mark.parametrize(
    ("given", "dtype"), [(np.float64, np.float64), (np.float32, np.float32), (np.uint8, np.float32)]
)
def test_rows_are_as_wide_as_they_have_to_be(given: type, dtype: type) -> None:
    read = observation_reader(Box(0, 1, (3,), given), "x")
    assert read(np.zeros((1, 3), given)).dtype == dtype == read.dtype
    assert observation_reader(Discrete(3), "x")(np.zeros(1, int)).dtype == np.float32


def test_a_discrete_observation_is_one_hot_from_its_start() -> None:
    read = observation_reader(Discrete(3, start=-1), "x")
    assert read(np.array([1, -1, 0])).tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    assert read([0]).tolist() == [[0, 1, 0]]
    for outside in (-2, 2):
        with pytest.raises(ValueError, match="outside Discrete"):
            read(np.array([0, outside]))


def test_discrete_actions_begin_where_the_space_does() -> None:
    write = action_writer(Discrete(3, start=-1), "x")
    assert (write.size, write.continuous) == (3, False)
    assert write(np.array([0, 2])).tolist() == [-1, 1]
    assert write(np.array([0, 2])).dtype == np.int64


def test_box_actions_are_shaped_and_cut_to_their_bounds() -> None:
    """Bounds ±1 in the first row, and in the second from 0 on without end."""
    low, high = np.array([[-1, -1], [0, 0]]), np.array([[1, 1], [np.inf, np.inf]])
    write = action_writer(Box(low.astype(np.float32), high.astype(np.float32)), "x")
    assert (write.size, write.continuous) == (4, True)
    given = np.array([[-5, 0.5, -0.5, 90.0], [5, -0.5, 0.5, -90.0]])
    assert write(given).tolist() == [[[-1, 0.5], [0, 90]], [[1, -0.5], [0.5, 0]]]
    assert write(given).dtype == np.float32
    assert given[0, 0] == -5  # The policy's own actions stay as they are.


def test_bounds_hold_after_rounding_to_the_spaces_own_width() -> None:
    space = Box(-0.1, 0.1, (1,), np.float32)
    assert space.contains(action_writer(space, "x")(np.array([[0.1]]))[0])
    assert space.contains(action_writer(space, "x")(np.array([[7.0]]))[0])


def test_parts_stand_one_behind_the_other() -> None:
    """Dict sorts its keys. A vector gives a Dict or Tuple of batches, single environments one of each."""
    inner = Tuple((Discrete(2, start=5), MultiDiscrete([2, 3])))
    space = Dict({"b": inner, "a": Box(-1, 1, (1, 2), np.float32), "c": MultiBinary(2)})
    one = {"a": np.array([[0.5, -0.5]]), "b": (6, np.array([0, 2])), "c": np.array([1, 0])}
    two = {"a": np.array([[0.25, 1.0]]), "b": (5, np.array([1, 1])), "c": np.array([0, 0])}
    expected = [[0.5, -0.5, 0, 1, 1, 0, 0, 0, 1, 1, 0], [0.25, 1, 1, 0, 0, 1, 0, 1, 0, 0, 0]]
    read = observation_reader(space, "x")
    assert (read.size, read.dtype, read.image) == (11, np.float32, None)
    assert read([one, two]).tolist() == expected
    vector = {
        "a": np.stack([one["a"], two["a"]]),
        "b": (np.array([6, 5]), np.array([[0, 2], [1, 1]])),
        "c": np.array([[1, 0], [0, 0]]),
    }
    assert read(vector).tolist() == expected
    with pytest.raises(ValueError, match="outside MultiDiscrete"):
        observation_reader(MultiDiscrete([2, 3]), "x")(np.array([[1, 3]]))
    wide = Dict({"a": Discrete(2), "b": Box(-1, 1, (1,), np.float64)})
    assert observation_reader(wide, "x").dtype == np.float64


def test_images_are_bytes_with_channels_first() -> None:
    picture = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4) + 200
    last = observation_reader(Box(0, 255, (4, 5, 3), np.uint8), "x")
    assert (last.image, last.size, last.dtype) == ((3, 4, 5), 60, np.uint8)
    pixels = np.arange(60, dtype=np.uint8).reshape(1, 4, 5, 3)
    rows = last(pixels)
    assert rows.dtype == np.uint8
    assert rows[0].reshape(3, 4, 5)[2, 1, 3] == pixels[0, 1, 3, 2]
    first = observation_reader(Box(0, 255, (2, 3, 4), np.uint8), "x")
    assert first.image == (2, 3, 4)
    assert first([picture]).tolist() == [picture.reshape(-1).tolist()]
    with pytest.raises(ValueError, match=r"an image of shape \(4, 4, 3\) where \(4, 5, 3\) was declared"):
        last(np.zeros((1, 4, 4, 3), np.uint8))


def test_other_bytes_are_scaled_and_other_small_integers_are_not() -> None:
    memory = observation_reader(Box(0, 255, (2,), np.uint8), "x")
    assert memory.image is None
    assert memory([np.array([0, 255], np.uint8)]).tolist() == [[0, 1]]
    board = observation_reader(Box(0, 9, (2, 2, 1), np.uint8), "x")
    assert board.image is None
    assert board([np.array([[[9], [1]], [[2], [3]]], np.uint8)]).tolist() == [[9, 1, 2, 3]]


def test_several_choices_are_one_index_each() -> None:
    many = action_writer(MultiDiscrete([2, 3], start=[5, 0]), "x")
    assert (many.size, many.continuous, many.choices) == (5, False, (2, 3))
    assert many(np.array([[1, 2], [0, 0]])).tolist() == [[6, 2], [5, 0]]
    square = action_writer(MultiDiscrete([[2, 3], [4, 5]]), "x")
    assert square.choices == (2, 3, 4, 5)
    assert square(np.array([[1, 2, 3, 4]])).tolist() == [[[1, 2], [3, 4]]]
    binary = MultiBinary((1, 3))
    write = action_writer(binary, "x")
    assert write.choices == (2, 2, 2)
    assert binary.contains(write(np.array([[1, 0, 1]]))[0])


@pytest.mark.parametrize("space", [Sequence(Discrete(2)), Dict({"a": Text(3)})])
def test_what_cannot_be_read_is_named(space: object) -> None:
    with pytest.raises(UserError, match=r"Maze-v0 has the observation space .*(Sequence|Text).* a Box, Discrete"):
        observation_reader(space, "Maze-v0")


@pytest.mark.parametrize("space", [Dict({"a": Discrete(2)}), Box(0, 9, (1,), np.int64)])
def test_what_cannot_be_acted_in_is_named(space: object) -> None:
    with pytest.raises(UserError, match=r"Maze-v0 has the action space .*(Dict|int64).* or a Box of real numbers"):
        action_writer(space, "Maze-v0")


def test_spaces_without_numbers_are_refused() -> None:
    for space in (Box(0, 1, (0,)), Dict({}), Tuple(())):
        with pytest.raises(UserError, match=r"Maze-v0 has the observation space .*, which has no numbers"):
            observation_reader(space, "Maze-v0")
    for space in (Box(0, 1, (0,)), MultiDiscrete([])):
        with pytest.raises(UserError, match=r"Maze-v0 has the action space .*, which has no numbers"):
            action_writer(space, "Maze-v0")


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (-1, 1, None),
        (-2, 2, None),
        (0, 1, None),
        (-np.inf, np.inf, None),
        (0, np.inf, None),
        (5, 6, "far from 0, 5 to 6"),
        (-3, -1.5, "far from 0"),
        (-0.01, 0.01, "narrow, -0.01 to 0.01"),
        (-500, 500, "wide, -500 to 500"),
    ],
)
def test_bounds_that_a_new_policy_misses_are_told(low: float, high: float, said: str | None) -> None:
    told = unsuited(Box(low, high, (2,), np.float32))
    assert (told is None) if said is None else (said in told and RESCALED_ACTIONS in told)
    assert unsuited(Discrete(1000)) is None


def test_of_several_bounds_those_that_are_missed_are_told() -> None:
    """The first number of an action has no bounds, which suits."""
    told = unsuited(Box(np.array([-np.inf, -50.0]), np.array([np.inf, 50.0]), dtype=np.float64))
    assert told is not None
    assert told.startswith("its actions have bounds wide, -50 to 50, ")


def test_scaled_actions_reach_from_bound_to_bound() -> None:
    """Bounds −2 to 6 and 0 to 1: the middle is 2 and ½."""
    space = Box(np.array([-2.0, 0.0], np.float32), np.array([6.0, 1.0], np.float32))
    write = action_writer(space, "x", True)
    written = write(np.array([[-1.0, -1.0], [0.0, 0.0], [1.0, 0.5]]))
    assert written.tolist() == [[-2.0, 0.0], [2.0, 0.5], [6.0, 0.75]]
    assert written.dtype == np.float32
    assert action_writer(space, "x")(np.array([[0.5, 0.5]])).tolist() == [[0.5, 0.5]]


def test_what_a_head_cannot_play_is_said_with_what_can() -> None:
    box, many, pictures = Box(-1, 1, (2,)), Discrete(3), Box(0, 255, (8, 8, 3), np.uint8)
    assert unplayable("distribution", box, Box(-np.inf, np.inf, (1,))) is None
    assert (
        unplayable("table", many, many) is unplayable("values", box, many) is unplayable("squashed", box, box) is None
    )
    for head, observations, actions, said in [
        ("table", box, many, "needs a table of states, and observations are Box"),
        ("table", many, box, "actions are Box(-1.0, 1.0, (2,), float32): choose one with Discrete actions; sac takes"),
        ("values", box, MultiDiscrete([2, 3]), "choose one with Discrete actions; ppo takes them"),
        ("squashed", box, many, "needs a Box of real numbers with bounds, and actions are Discrete(3)"),
        ("squashed", box, Box(-np.inf, 1, (1,)), "ppo takes others"),
        ("squashed", pictures, box, "reads no images"),
    ]:
        assert said in (unplayable(head, observations, actions) or "")
