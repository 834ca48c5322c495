"""Who has a loss how: the arguments that give another implementation's, and the factor between."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any


@dataclass(frozen=True)
class Convention:
    """How one implementation has a loss: a row of the table in conventions.md.

    loss       its name in npkd.losses
    where      who has it so
    factor     their value, and gradient, in units of what npkd's defaults give at the same
               temperature T (and the same δ); in B, C, T, δ, and N, the number of entries that are
               compared. "" where no factor leads from one to the other: it is another loss
    arguments  with which npkd's loss is theirs; "T" stands for the temperature that they have
    note       what differs
    """

    loss: str
    where: str
    factor: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""

    def __str__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return given.replace("'T'", "T").replace("'δ'", "δ").replace("'", '"')


@cache
def conventions() -> tuple[Convention, ...]:
    """All that is known, loss by loss.

    Example
        >>> [(one.where, one.factor) for one in losses.conventions() if one.loss == "l1"]
        [('PyTorch l1_loss', '1/C')]
    """
    from importlib import resources  # takes a while, and is seldom needed

    table = resources.files("npkd.losses").joinpath("conventions.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:-1] for line in table.splitlines() if line.startswith("| `")]
    return tuple(_convention(*(cell.strip() for cell in row)) for row in rows)


def _convention(loss: str, where: str, factor: str, arguments: str, note: str) -> Convention:
    call = ast.parse(f"dict({arguments.strip('`')})", mode="eval").body
    given = {
        one.arg: one.value.id if isinstance(one.value, ast.Name) else ast.literal_eval(one.value)
        for one in call.keywords  # type: ignore[attr-defined]
    }
    return Convention(loss.strip("`"), where, factor.replace("–", ""), given, note)
