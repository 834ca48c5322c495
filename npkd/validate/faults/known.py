"""All known faults."""

from npkd.validate.faults.of_data import DATA_FAULTS, TEACHER_FAULTS
from npkd.validate.faults.of_layers import LAYER_FAULTS
from npkd.validate.faults.of_losses import LOSS_FAULTS
from npkd.validate.faults.of_updates import UPDATE_FAULTS

FAULTS = [*LOSS_FAULTS, *LAYER_FAULTS, *UPDATE_FAULTS, *TEACHER_FAULTS, *DATA_FAULTS]
