"""The document's six steps: a large net learns from labels, a small one from the large one.

    1  train the large net on high-resolution images, with their labels
    2  run it on low-resolution images
    3  compare its outputs with the truth
    4  run the small net on the low-resolution images
    5  train the small net towards the large net's outputs, by ½‖y_large − y_small‖²
    6  let the small net predict low-resolution images that it has never seen, and evaluate

`run` walks through them and yields an event for whatever happens; who calls it decides what to
show. At each event `Run.state` says all that is needed to go on from there, with the same bits as
if nothing had come between. Beside the distilled net stands a small net trained from labels alone,
from the same initial weights, on the same images in the same order, as far as these have labels.
"""

from npkd.distill.config import (
    PHOTOGRAPHS,
    PRESETS,
    RATES,
    SUPER_RESOLUTION,
    Config,
    preset,
)
from npkd.distill.events import Epoch, Event, Finished, Note, Stage, Training
from npkd.distill.preparation import Preparation
from npkd.distill.state import State
from npkd.distill.steps import STEPS, TRAININGS, Run, distil, run
from npkd.distill.tasks import TASKS

__all__ = [
    "PHOTOGRAPHS",
    "PRESETS",
    "RATES",
    "STEPS",
    "SUPER_RESOLUTION",
    "TASKS",
    "TRAININGS",
    "Config",
    "Epoch",
    "Event",
    "Finished",
    "Note",
    "Preparation",
    "Run",
    "Stage",
    "State",
    "Training",
    "distil",
    "preset",
    "run",
]
