"""Optimisers, gradients clipped to a common norm, and learning rates that change with the step."""

from npkd.optim.adam import Adam, AdamW
from npkd.optim.clipping import clipped
from npkd.optim.optimiser import Optimiser
from npkd.optim.schedules import Schedule, constant, cosine, stepwise, warmed_up
from npkd.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimiser", "Schedule", "clipped"]
__all__ += ["constant", "cosine", "stepwise", "warmed_up"]
