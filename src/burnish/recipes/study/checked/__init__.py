"""`burnish study checked`: methods on answers that can be checked."""
