"""The run folder."""


class UserError(Exception):
    """A mistake of the user's that one sentence explains: it names the file, row or key and says what to do."""
