"""Models that act: their log-probabilities, their layout in memory and their sampler."""
