"""Rows of figures as text."""


def ratios(rows: list[dict]) -> str:
    """npkd's milliseconds, and under the other frameworks their time over npkd's, with spread."""
    others = list(dict.fromkeys(name for row in rows for name in row["ratio"]))
    return aligned(
        [*CELL, "npkd, ms", *others],
        [
            [
                *cell(row),
                f"{row['median_ms']['npkd']:.3f}",
                *(with_spread(row["ratio"].get(name)) for name in others),
            ]
            for row in rows
        ],
    )


def shares(rows: list[dict]) -> str:
    """Of the rate at which BLAS multiplies large matrices, the share that training steps reach."""
    names = list(rows[0]["share"])
    return aligned(
        [*CELL, "GFLOP", "BLAS, GFLOP/s", *(f"{name}, %" for name in names)],
        [
            [
                *cell(row),
                f"{row['gflop']:.2f}",
                with_spread(row["blas_gflops"], digits=0),
                *(with_spread(row["share"][name], scale=100, digits=0) for name in names),
            ]
            for row in rows
        ],
    )


CELL = ["subject", "work", "batch", "threads"]


def cell(row: dict) -> list[str]:
    """What a row is about, under CELL."""
    return [row["subject"], row["work"], str(row["batch"]), str(row["threads"])]


def with_spread(figure: dict | None, scale: float = 1, digits: int = 2) -> str:
    """A median with the lowest and the highest of the rounds, a dash where there is none."""
    if figure is None:
        return "–"
    median, lowest, highest = (
        f"{scale * figure[name]:.{digits}f}" for name in ("median", "lowest", "highest")
    )
    return f"{median} ({lowest} to {highest})"


def aligned(head: list[str], body: list[list[str]]) -> str:
    """A head and lines under it, words to the left and figures to the right."""
    widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
    words = {"subject", "work"}
    lines = [
        "  ".join(
            text.ljust(width) if title in words else text.rjust(width)
            for title, text, width in zip(head, line, widths, strict=True)
        )
        for line in [head, *body]
    ]
    return "\n".join([lines[0], "─" * len(lines[0]), *lines[1:]])
