"""`burnish demo`: the whole path on the built-in data."""
