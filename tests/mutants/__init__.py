"""Wrong versions of npkd, each of which some check must reject: what the checks can catch.

A mutant is the real source with one piece of text replaced, in the function that it names; so equal
lines may stand in several. Why text, and not a wrong function of its own: so it is the real code
that is changed, in one place, and a mutant of code that has changed says that it is out of date.
A file for each family, named as in `npkd.losses`; `building` makes them.
"""

from mutants import (
    features,
    labels,
    nets,
    ops,
    quantise,
    regression,
    relations,
    soft_targets,
    training,
)
from mutants.building import CHECKS, KILLS, Mutant, build, rejection

MUTANTS = [
    *ops.MUTANTS,
    *regression.MUTANTS,
    *labels.MUTANTS,
    *soft_targets.MUTANTS,
    *features.MUTANTS,
    *relations.MUTANTS,
    *nets.MUTANTS,
    *training.MUTANTS,
    *quantise.MUTANTS,
]

__all__ = ["CHECKS", "KILLS", "MUTANTS", "Mutant", "build", "rejection"]
