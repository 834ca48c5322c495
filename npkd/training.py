"""The one training loop: updates of a network on batches, as events."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from npkd import optim
from npkd.nets import Network
from npkd.objectives import Batch, Objective


class Diverged(ArithmeticError):
    """A loss is no longer finite. The message says where, and what to try."""


@dataclass(frozen=True)
class Update:
    """One update was made: of epoch and step (both from 0), on so many samples, at this rate."""

    epoch: int
    step: int
    loss: float
    samples: int
    learning_rate: float


def train(
    network: Network,
    batches: Iterable[Batch],
    *,
    loss: Objective,
    optimiser: optim.Optimiser,
    schedule: optim.Schedule,
    clip_norm: float = math.inf,
    first_step: int = 0,
    rng: Callable[[int], np.random.Generator] | None = None,
) -> Iterator[Update]:
    """The one training loop: an update of `network` for each batch, an event for each update.

    loss: takes the outputs of the layers that it names, and its gradients by them go into the
    backward pass at these layers; what it trains itself is updated too. clip_norm bounds the norm
    of all gradients together (`optim.clipped`). first_step: the number of the first batch, above 0
    where a training is resumed. rng: for each step what layers such as dropout draw from.

    What layers remember (`network.state`) moves on with each update. Raises Diverged, before the
    update, when the loss or a gradient is not finite.

    Example
        >>> network = nets.Network({"fc": nets.Linear(1, 1)}, (1,), rng=0)
        >>> x, y = np.ones((2, 1, 1), np.float32)
        >>> batches, loss = [objectives.Batch(0, x, y)] * 20, objectives.from_truth(losses.l2, "fc")
        >>> sgd, rate = optim.SGD(lr=1.0), optim.constant(0.25)
        >>> updates = training.train(network, batches, loss=loss, optimiser=sgd, schedule=rate)
        >>> print(len(list(updates)), network(x)[0].round(3))
        20 [[1.]]
    """
    params = network.params | loss.params

    def diverged(what: str, step: int, epoch: int) -> Diverged:
        largest = max(params, key=lambda name: float(np.abs(params[name]).max()))
        return Diverged(
            f"{type(network).__name__}: {what} at step {step + 1}, in epoch {epoch + 1}, at a "
            f"learning rate of {optimiser.lr:.3g}; the largest weight is "
            f"{np.abs(params[largest]).max():.3g}, in {largest}"
        )

    for step, batch in enumerate(batches, first_step):
        optimiser.lr = schedule(step)
        outputs, backward, state = network.features(
            batch.x, loss.layers, training=True, rng=None if rng is None else rng(step)
        )
        value, gradients, of_loss = loss(outputs, batch)
        if not np.isfinite(value):
            raise diverged(f"the loss became {value}", step, batch.epoch)
        _, grads = backward(gradients, need_dx=False)
        grads |= of_loss
        for name, g in grads.items():
            if not np.isfinite(g.sum()) and not np.isfinite(g).all():  # the sum is the quicker one
                raise diverged(f"the gradient by {name} is no longer finite", step, batch.epoch)
        if clip_norm < math.inf:
            grads = optim.clipped(grads, clip_norm)
        optimiser.step(params, grads)
        for name, remembered in state.items():
            network.state[name][...] = remembered
        yield Update(batch.epoch, step, float(value), len(batch.x), optimiser.lr)
