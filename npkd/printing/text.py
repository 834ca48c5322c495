"""Text in columns, and names cut short."""

from collections.abc import Container, Sequence

from npkd.files import one_line


def short(name: str, most: int = 12) -> str:
    """A name in one line, of so many letters at most."""
    name = one_line(name)
    return name if len(name) <= most else f"{name[: most - 1]}…"


def aligned(rows: Sequence[Sequence[str]], left: Container[int] = (0,)) -> list[str]:
    """The lines of a table, a rule below its head; columns lean right, but for those at `left`."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [in_columns(row, widths, left) for row in rows]
    return [lines[0], "─" * max(map(len, lines)), *lines[1:]]


def in_columns(row: Sequence[str], widths: Sequence[int], left: Container[int]) -> str:
    """One line of a table whose columns are so wide."""
    cells = (
        cell.ljust(width) if k in left else cell.rjust(width)
        for k, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join(cells).rstrip()
