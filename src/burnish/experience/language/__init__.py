"""Completions of prompts, sampled and scored."""
