"""What a model learns from: formats, chat templates, tokenisation, masks, the built-in data set.

`sources.load` reads a data set wherever it lies, `formats` tells what a row means, `templates` renders conversations as
text, and `tokenise` turns rows into ids and masks: `sources` → `formats` → `templates` → `tokenise`.
"""
