"""What answers a language model in a dialogue: tools, games, users that are simulated."""
