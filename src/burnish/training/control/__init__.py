"""Gradient steps and trust-region steps of many runs in lockstep."""
