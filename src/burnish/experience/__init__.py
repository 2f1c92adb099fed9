"""Where online batches come from, each source with its own knobs."""
