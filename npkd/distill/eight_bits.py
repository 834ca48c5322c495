"""The nets of a task in eight bits."""

from npkd.distill.tasks.task import Task, spread
from npkd.nets import Network
from npkd.quantise import Quantised
from npkd.quantise.network import MOST_WEIGHT

CALIBRATION = 1000  # images


def in_eight_bits(
    task: Task, name: str, network: Network, most_weight: int = MOST_WEIGHT
) -> Quantised:
    """One of a task's nets, by the ranges that its outputs have for training images.

    Raises what `Quantised.of` does.
    """
    images = task.dataset.train_images
    shown = task.view(name)(images[spread(len(images), CALIBRATION)])
    return Quantised.of(network, shown, most_weight)
