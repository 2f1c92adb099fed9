"""Training data: formats, chat templates, tokenisation, masks and the built-in data set.

`sources.load` reads a data set from a file, a folder or the hub, `formats` maps its columns to prompts and responses,
`templates` renders conversations as text, and `tokenise` turns rows into ids and masks.
"""
