"""What scores a finished text: a reward model, a Python function, a lexicon, or the gold judge, which evaluates."""
