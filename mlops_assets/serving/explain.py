"""Why the model says what it says of a row."""


class NotExplainableError(Exception):
    """The model's answers cannot be explained; the message says why."""
