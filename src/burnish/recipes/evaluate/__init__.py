"""`burnish evaluate`: what a finished run learned."""
