"""The table of conventions: each row's factor and arguments, and how it is written."""

import math
from pathlib import Path

import numpy as np
import pytest

from npkd import losses
from npkd.objectives import KINDS

TABLE = (Path(__file__).parents[1] / "npkd/losses/conventions.md").read_text(encoding="utf-8")
ROWS = losses.conventions()
B, C, T, DELTA = 5, 7, 3.0, 0.4


def case(loss, rng):
    """The arrays of a call, and N, the number of entries that are compared."""
    maps = [rng.standard_normal((B, channels, 4, 3)) for channels in (2, 2, 3, 3)]
    rows = rng.standard_normal((2, B, C))
    labels = [rng.integers(C, size=B)] if loss == "dkd" else []
    if loss == "standardize":
        return rows[:1], 0
    if loss == "fsp":
        return (maps[0], maps[2], maps[1], maps[3]), B * 2 * 3
    if loss == "vid":
        return (maps[0], maps[1], rng.standard_normal(2)), maps[0].size
    if loss == "cc":  # for "consecutive" of one shape
        return rows, B * B
    if KINDS[loss].layers in ("map", "vector"):
        return maps[:2], maps[0].size
    return (*rows, *labels), rows[0].size


def called(loss, arrays, options):
    """The value and the first gradient."""
    if loss == "standardize":
        y, _ = losses.standardize(*arrays, **options)
        return y, y
    value, gradient = getattr(losses, loss)(*arrays, **options)
    return value, gradient[0] if isinstance(gradient, tuple) else gradient


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.loss}: {row.where}")
def test_the_arguments_give_the_factor(row):
    """Where there is none, value and gradient are another loss's, by no common factor."""
    letters = {"T": T, "δ": DELTA}
    theirs = {name: letters.get(value, value) for name, value in row.arguments.items()}
    own = {"delta": DELTA} if "delta" in theirs else {}
    if row.loss == "standardize":
        own["epsilon"] = 0.0
    if "T" in row.factor and row.loss != "l2":  # whose default has no temperature
        own["temperature"] = T
    arrays, count = case(row.loss, np.random.default_rng(0))
    theirs = own | theirs
    (value, gradient), (a, g) = called(row.loss, arrays, theirs), called(row.loss, arrays, own)
    if not row.factor:
        factor = value / a
        assert not math.isclose(factor, 1, rel_tol=1e-3)
        assert np.max(np.abs(gradient - factor * g)) > 1e-3 * np.max(np.abs(gradient))
        return
    text = row.factor.replace("²", "**2").replace("·", "*").replace("√", "math.sqrt")
    text = text.replace("−", "-").replace("δ", "delta")
    names = {"math": math, "B": B, "C": C, "T": T, "delta": DELTA, "N": count}
    factor = eval(text, names)  # a formula of the table's own
    slack = max(1e-12, 100 * row.arguments.get("epsilon", 0))
    np.testing.assert_allclose(value, factor * a, rtol=slack)
    np.testing.assert_allclose(
        gradient, factor * g, rtol=0, atol=slack * np.max(np.abs(g)) * factor
    )


def test_every_loss_that_can_be_got_wrong_has_a_row():
    without = set(losses.__all__) - {row.loss for row in ROWS}
    assert without == {"conventions", "cross_entropy", "limit", "mix"}


def test_the_table_is_as_its_rows_are_written():
    lines = [line for line in TABLE.splitlines() if line.startswith("| `")]
    assert lines == [
        f"| `{row.loss}` | {row.where} | {row.factor or '–'} | {f'`{row}`' if str(row) else ''} "
        f"| {row.note} |".replace("|  |", "| |")
        for row in ROWS
    ]
