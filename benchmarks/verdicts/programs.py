"""What a wrong program is, in whatever framework."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from npkd.validate import Case

Arrays = dict[str, np.ndarray]
Program = Callable[[Case], Arrays]

PRECISION = 30  # the number of the fault that is no wrong result, but a lower precision
UNLISTED = 0  # the number of those that the list of faults to be caught lacks


@dataclass(frozen=True)
class WrongProgram:
    """A program with one mistake.

    number   of the fault, in the list of those to be caught, or UNLISTED
    faults   its name in `npkd.validate.faults`; for number 30, of the precision. Several, where no
             result of the subject tells them apart
    subject  whose cases it computes
    about    the mistake, in words
    source   the public issue that it comes from, if any: OWNER/REPOSITORY#NUMBER
    """

    number: int
    faults: tuple[str, ...]
    subject: str
    about: str
    run: Program
    source: str = ""

    @property
    def is_precision(self) -> bool:
        """Whether all is right but for the precision that was asked for."""
        return self.number == PRECISION
