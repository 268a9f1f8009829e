"""Numbers of things, as people write them."""


def counted(number: int, thing: str, things: str = "") -> str:
    """How many there are of something: `1 connection`, `2,000 connections`; `things` where that is not with an s."""
    return f"{number:,} {thing if number == 1 else things or f'{thing}s'}"
