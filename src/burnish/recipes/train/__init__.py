"""`burnish.train`: from settings to a run folder."""
