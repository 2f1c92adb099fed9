"""Language models as policies, reward models and critics."""
