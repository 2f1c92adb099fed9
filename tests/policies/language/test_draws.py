"""Draws: the random streams, the shaped distribution, and the inverse of its cumulative sums."""

import pytest
import torch

from burnish.options import COLDEST
from burnish.policies.language.draws import draw, largest, likeliest, log_distribution, next_tokens, uniforms


def test_streams_begin_alike_whatever_their_length_and_are_uniform() -> None:
    long, short = uniforms(7, [0, 3, 9], 100), uniforms(7, [9, 0], 7)
    assert torch.equal(short, long[[2, 0], :7])
    many = uniforms(0, range(500), 4)
    assert ((many >= 0) & (many < 1)).all()
    assert many.unique().numel() == many.numel()
    assert many.mean(0) == pytest.approx([0.5] * 4, abs=0.05)


P = torch.tensor([[0.1, 0.4, 0.2, 0.3]], dtype=torch.float64)


def probabilities(**knobs: float) -> list[float]:
    return log_distribution(P.log(), **({"temperature": 1.0} | knobs))[0].exp().tolist()  # type: ignore[arg-type]


def test_temperature_top_k_and_top_p_by_hand() -> None:
    """p = .1 .4 .2 .3. Temperature ½ squares it: .01 .16 .04 .09 over .30. The top 2 are .4 and .3, over .7. A nucleus
    of .5 needs .4 and .3 (.4 falls short); one of .39 is .4 alone; .75 needs .2 as well, over .9."""
    assert probabilities() == pytest.approx(P[0].tolist())
    assert probabilities(temperature=0.5) == pytest.approx([1 / 30, 16 / 30, 4 / 30, 9 / 30])
    assert probabilities(top_k=2) == pytest.approx([0, 4 / 7, 0, 3 / 7])
    assert probabilities(top_k=1) == pytest.approx([0, 1, 0, 0])
    assert probabilities(top_k=99) == pytest.approx(P[0].tolist())
    assert probabilities(top_p=0.5) == pytest.approx([0, 4 / 7, 0, 3 / 7])
    assert probabilities(top_p=0.39) == pytest.approx([0, 1, 0, 0])
    assert probabilities(top_p=0.75) == pytest.approx([0, 4 / 9, 2 / 9, 3 / 9])
    assert probabilities(top_p=1.0) == pytest.approx(P[0].tolist())
    assert probabilities(top_p=1e-300) == pytest.approx([0, 1, 0, 0])
    # The nucleus is taken of what the temperature made: .16/.30 is more than a half.
    assert probabilities(temperature=0.5, top_p=0.5) == pytest.approx([0, 1, 0, 0])
    assert probabilities(top_k=3, top_p=0.5) == pytest.approx([0, 4 / 7, 0, 3 / 7])


def test_a_tiny_top_p_takes_the_likeliest_token_and_the_lowest_temperature_too() -> None:
    """In float32 1e-300 is 0, and the smallest set of probability 0 would be empty. At temperature 1e-4 the ratio of
    the two likeliest is (4/3)^10000; logits as large as a float16's stay finite."""
    logits = P.log().float()
    assert log_distribution(logits, 1.0, top_p=1e-300)[0].exp().tolist() == pytest.approx([0, 1, 0, 0])
    assert log_distribution(logits, COLDEST)[0].exp().tolist() == pytest.approx([0, 1, 0, 0])
    large = torch.tensor([[-65504.0, 65504.0]])
    assert log_distribution(large, COLDEST)[0].tolist() == [pytest.approx(-2 * 65504e4), 0]


def test_low_precision_logits_are_widened_first() -> None:
    assert log_distribution(P.log().bfloat16(), 1.0).dtype == torch.float32


def test_draws_invert_the_cumulative_distribution() -> None:
    """Cumulative .1 .5 .7 1: a number just below a step is still the token before it; what has no probability never
    comes, at either end."""
    numbers = torch.tensor([0.0, 0.0999, 0.1001, 0.4999, 0.5001, 0.6999, 0.7001, 1 - 2**-53], dtype=torch.float64)
    assert draw(P.log().expand(8, 4), numbers).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    impossible = torch.tensor([[0.0, 0.5, 0.0, 0.5, 0.0]], dtype=torch.float64).log().expand(3, 5)
    assert draw(impossible, torch.tensor([0.0, 0.5, 1 - 2**-53], dtype=torch.float64)).tolist() == [1, 3, 3]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("top_p", [None, 0.7])
@pytest.mark.parametrize("top_k", [None, 1, 5, 400])
def test_next_tokens_are_drawn_from_the_whole_distribution(
    dtype: torch.dtype, top_p: float | None, top_k: int | None
) -> None:
    """As if no logit had been left out. In bfloat16 many logits are equal."""
    generator = torch.Generator().manual_seed(0)
    logits = (3 * torch.randn(60, 300, generator=generator)).to(dtype)
    uniform = torch.rand(60, generator=generator, dtype=torch.float64)
    expected = log_distribution(logits, 0.8, top_k, top_p)
    chosen, logprobs = next_tokens(logits, uniform, 0.8, top_k, top_p)
    assert torch.equal(chosen, draw(expected, uniform))
    torch.testing.assert_close(logprobs, expected.gather(1, chosen[:, None])[:, 0])


def test_the_likeliest_tokens_are_the_models_and_the_chosen_one_is_behind_them() -> None:
    """Probabilities 4/8, 1/8, 3/8 and 2/8, 5/8, 1/8 by their logarithms, shifted."""
    logits = torch.tensor([[4.0, 1.0, 3.0], [2.0, 5.0, 1.0]]).log() + 7
    ids, logprobs = likeliest(logits, torch.tensor([1, 1]), 2)
    assert ids.tolist() == [[0, 2, 1], [1, 0, 1]]
    torch.testing.assert_close(logprobs.exp(), torch.tensor([[4.0, 3.0, 1.0], [5.0, 2.0, 5.0]]) / 8)
    assert likeliest(logits, torch.tensor([1, 1]), 20)[0].shape == (2, 4)


def test_the_largest_logits_have_all_that_equal_the_last() -> None:
    """Two of 3 2 2 2 1 are four, so the other row has four as well; a logit that is not a number stays one."""
    logits = torch.tensor([[2.0, 1.0, 2.0, 3.0, 2.0], [5.0, 1.0, 4.0, 2.0, 3.0]])
    values, ids = largest(logits, 2)
    assert ids.tolist() == [[0, 2, 3, 4], [0, 2, 3, 4]]
    assert values.tolist() == [[2, 2, 3, 2], [5, 4, 2, 3]]
    assert largest(torch.full((1, 3), torch.nan), 2)[0].isnan().all()


@pytest.mark.parametrize("levels", [2, 5, 60])
def test_the_largest_logits_with_few_and_with_many_equal_ones(levels: int) -> None:
    """From as many as all of 60 to hardly any logits equal the last: each row has all of them, and each row as many."""
    logits = torch.randint(levels, (4, 60), generator=torch.Generator().manual_seed(levels)).float()
    values, ids = largest(logits, 3)
    thresholds = logits.sort(descending=True).values[:, 2:3]
    counts = (logits >= thresholds).sum(-1)
    assert values.shape == ids.shape == (4, int(counts.max()))
    assert torch.equal(values, logits.gather(1, ids))
    assert torch.equal(ids, ids.sort().values)
    assert torch.equal((values >= thresholds).sum(-1), counts)
