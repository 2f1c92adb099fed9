"""`burnish classic`: the classical path on Gymnasium environments."""
