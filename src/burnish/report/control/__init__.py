"""Pages of control studies."""
