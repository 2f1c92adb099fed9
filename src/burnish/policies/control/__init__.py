"""Networks of control as policies and critics, many runs in lockstep."""
