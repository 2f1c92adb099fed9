"""Gradient steps of a language model."""
