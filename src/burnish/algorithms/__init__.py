"""One file a method: a frozen dataclass of its hyperparameters, with `prepare` and `loss`."""
