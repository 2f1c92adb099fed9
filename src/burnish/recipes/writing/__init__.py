"""The training text of the embedded model, written by SmolLM2: prompts, shards, filters."""
