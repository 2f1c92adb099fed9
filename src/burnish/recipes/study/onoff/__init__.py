"""The study of on- and off-policy learning: sample efficiency, and what late data cost a policy gradient."""
