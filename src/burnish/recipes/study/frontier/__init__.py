"""`burnish study frontier`: reward against KL, for the same pairs, the same start and the same compute."""
