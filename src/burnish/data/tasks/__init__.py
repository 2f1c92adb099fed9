"""Tasks with answers that can be checked, by name: `task:NAME[:options][:split]`.

Each is a seeded stream of prompts with their answers. `own` has Burnish's, `gym` those of reasoning_gym, `stream` makes
rows of them.
"""
