"""Evaluation: confidence intervals, win rates, benchmarks and text statistics."""
