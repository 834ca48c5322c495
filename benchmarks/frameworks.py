"""The same work in each framework, as it runs in a process of that framework alone.

    work = WORK["npkd"](threads)(cell)
    work()      # one training step, or one forward pass

A training step is forward, half the squared distance to fixed targets as a mean over the batch,
backward without the gradient by the images, and plain SGD. Arrays are float32.
"""

from collections.abc import Callable
from contextlib import ExitStack
from typing import NamedTuple

import numpy as np

LEARNING_RATE = 0.01
for_life = ExitStack()  # of the process


class Cell(NamedTuple):
    """One line of the table: `net` is "large" or "small", `work` "training step" or "forward"."""

    net: str
    work: str
    batch: int


def batch_of(cell: Cell) -> tuple[np.ndarray, np.ndarray]:
    """Images (B, 3, H, H) and the targets (B, 10) of the net's outputs."""
    rng = np.random.default_rng(0)
    side = 32 if cell.net == "large" else 16
    images = rng.standard_normal((cell.batch, 3, side, side), dtype=np.float32)
    return images, rng.standard_normal((cell.batch, 10), dtype=np.float32)


def npkd(threads: int) -> Callable[[Cell], Callable[[], object]]:
    """The work of a cell by npkd; BLAS is held to one thread as long as the process lives."""
    import npkd
    from npkd.threads import one_blas_thread

    npkd.set_num_threads(threads)
    for_life.enter_context(one_blas_thread())

    def work_of(cell: Cell) -> Callable[[], object]:
        network = {"large": npkd.LargeCNN, "small": npkd.SmallCNN}[cell.net](0)
        images, targets = batch_of(cell)
        sgd = npkd.SGD(LEARNING_RATE)

        def training_step() -> None:
            outputs, backward = network(images)
            _, dy = npkd.losses.l2(outputs, targets)
            _, grads = backward(dy, need_dx=False)
            sgd.step(network.params, grads)

        def forward() -> None:
            network(images)

        return {"training step": training_step, "forward": forward}[cell.work]

    return work_of


def pytorch(threads: int) -> Callable[[Cell], Callable[[], object]]:
    """The work of a cell by PyTorch, eagerly, the forward pass in inference mode."""
    import torch

    torch.set_num_threads(threads)

    def work_of(cell: Cell) -> Callable[[], object]:
        channels1, channels2, side, hidden = {
            "large": (32, 64, 32, 512),
            "small": (16, 32, 16, 128),
        }[cell.net]
        network = torch.nn.Sequential(
            torch.nn.Conv2d(3, channels1, 3, padding=1),
            torch.nn.ReLU(),
            torch.nn.Conv2d(channels1, channels2, 3, padding=1),
            torch.nn.ReLU(),
            torch.nn.AvgPool2d(2),
            torch.nn.Flatten(),
            torch.nn.Linear(channels2 * (side // 2) ** 2, hidden),
            torch.nn.ReLU(),
            torch.nn.Linear(hidden, 10),
        )
        images, targets = map(torch.from_numpy, batch_of(cell))
        sgd = torch.optim.SGD(network.parameters(), LEARNING_RATE)

        def training_step() -> None:
            loss = 0.5 * (network(images) - targets).square().sum() / cell.batch
            sgd.zero_grad()
            loss.backward()
            sgd.step()

        @torch.inference_mode()
        def forward() -> None:
            network(images)

        return {"training step": training_step, "forward": forward}[cell.work]

    return work_of


WORK = {"npkd": npkd, "PyTorch": pytorch}
