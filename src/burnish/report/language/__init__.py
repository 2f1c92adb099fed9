"""Pages of language-model runs."""
