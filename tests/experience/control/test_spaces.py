import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete

from burnish.experience.control.spaces import action_writer, observation_reader
from burnish.run import UserError


def test_a_box_is_read_row_by_row() -> None:
    read = observation_reader(Box(-1, 1, (2, 2)), "x")
    batch = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    assert read.size == 4
    assert read(batch).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert read([batch[0]]).tolist() == [[0, 1, 2, 3]]
    assert not np.shares_memory(read(batch), batch)


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


@pytest.mark.parametrize("space", [Dict({"a": Discrete(2)}), MultiBinary(3), MultiDiscrete([2, 2])])
def test_what_cannot_be_read_is_named(space: object) -> None:
    with pytest.raises(UserError, match=r"Maze-v0 has the observation space .*(Dict|Multi).* Box or Discrete"):
        observation_reader(space, "Maze-v0")


@pytest.mark.parametrize("space", [Dict({"a": Discrete(2)}), MultiDiscrete([2, 2]), Box(0, 9, (1,), np.int64)])
def test_what_cannot_be_acted_in_is_named(space: object) -> None:
    with pytest.raises(UserError, match=r"Maze-v0 has the action space .*(Dict|Multi|int64).* Discrete or a Box"):
        action_writer(space, "Maze-v0")
