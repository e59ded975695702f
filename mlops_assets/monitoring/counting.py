"""Numbers of things in words. Pure."""


def counted(number: int, one: str, many: str = "") -> str:
    """`1 column`, `1,200 columns`.

    Args:
        number: of them.
        one: their name, of one.
        many: of several; by default with an s.
    """
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
