"""What a run learns: to classify, or to super-resolve. All that differs between the two is here."""

from npkd.distill.tasks.classify import Classify
from npkd.distill.tasks.super_resolve import SuperResolve
from npkd.distill.tasks.task import Task

TASKS: dict[str, type[Task]] = {"classify": Classify, "super-resolve": SuperResolve}
