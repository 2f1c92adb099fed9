"""`burnish serve`: the sampler behind a server that speaks OpenAI's protocol."""
