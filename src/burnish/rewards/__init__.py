"""What scores a finished text: the gold judge (`gold`), fitted on people's ratings, which only evaluates."""
