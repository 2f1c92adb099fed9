"""`burnish label`: a page on which people compare answers."""
