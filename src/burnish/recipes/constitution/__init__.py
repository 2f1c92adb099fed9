"""`burnish constitution`: a model judges or revises answers by written principles."""
