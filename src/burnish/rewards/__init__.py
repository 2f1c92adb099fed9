"""Rewards that score finished texts: reward models, Python functions, a lexicon, and the gold judge for evaluation."""
