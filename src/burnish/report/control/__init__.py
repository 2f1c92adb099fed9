"""Pages about control."""
