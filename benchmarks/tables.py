"""Rows of figures as text."""

MIB = 1 << 20


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


def in_columns(rows: list[dict]) -> dict[tuple[str, ...], dict[str, str]]:
    """The same by subject, work and batch, and by column, as `figures.fill` takes it."""
    return {
        (f"{row['subject']}, {row['work']}, {row['batch']}",): {
            "npkd, ms": f"{row['median_ms']['npkd']:.3g}",
            **{name: with_spread(spread) for name, spread in row["ratio"].items()},
        }
        for row in rows
    }


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


def memory(rows: list[dict]) -> str:
    """Peak memory in MiB: in all, and what came after the imports."""
    names = list(rows[0]["memory"])
    head = [f"{name}, {what}" for name in names for what in ("MiB", "after imports")]
    return aligned([*CELL, *head], [[*cell(row), *mebibytes(row, names)] for row in rows])


def images(rows: list[dict]) -> str:
    """Peak memory in MiB by the number of images, and the layout of their files."""
    layouts = list(rows[0]["peak"])
    body = [
        [f"{row['images']:,}", *(f"{row['peak'][layout] / MIB:.0f}" for layout in layouts)]
        for row in rows
    ]
    return aligned(["images", *(f"{layout}, MiB" for layout in layouts)], body)


def scaling(rows: list[dict]) -> str:
    """Milliseconds for an image, ratios, and peak memory after the imports."""
    names = list(rows[0]["median_ms"])
    others = [name for name in names if name != "npkd"]
    head = [*(f"{name}, ms an image" for name in names), *others]
    if "memory" in rows[0]:
        head += [f"{name}, MiB" for name in names]
    body = []
    for row in rows:
        line = cell(row)
        line += [f"{row['median_ms'][name] / row['batch']:.3f}" for name in names]
        line += [with_spread(row["ratio"][name]) for name in others]
        if "memory" in row:
            line += mebibytes(row, names)[1::2]
        body.append(line)
    return aligned([*CELL, *head], body)


def seconds(rows: list[dict]) -> str:
    """Seconds by step."""
    steps = list(rows[0]["seconds"])
    return aligned(
        ["threads", *(f"{step.replace('_', ' ')}, s" for step in steps)],
        [[str(row["threads"]), *(f"{row['seconds'][step]:.1f}" for step in steps)] for row in rows],
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


def mebibytes(row: dict, names: list[str]) -> list[str]:
    """Peak memory of each framework, and that after the imports."""
    return [
        f"{row['memory'][name][what] / MIB:.0f}"
        for name in names
        for what in ("peak", "after_imports")
    ]


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
