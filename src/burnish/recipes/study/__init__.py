"""Studies that compare methods over seeds."""
