"""`burnish constitution`: a judge's probabilities by written principles, as soft labels."""
