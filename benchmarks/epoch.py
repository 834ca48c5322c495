"""Train a net of the field for an epoch beside PyTorch: the same first weights, the same batches.

    python -m benchmarks.epoch ../shared/data/cifar10 --net resnet20 --seeds 5

Both minimise cross-entropy by SGD at the same rates. Printed by seed: the largest difference
between two losses of a step relative to the loss, over the first steps and over the epoch, and the
test accuracies after it. Rounding is not the same in both, and training makes more of it from step
to step, in float32 from 1e-7 to 1e-2 within an epoch; --twin prints beside it how much PyTorch
differs from itself when it starts one rounding apart.
"""

import argparse
import copy

import numpy as np

from npkd import SGD, data, losses, optim, zoo
from npkd.data import Normalisation
from npkd.engine import threads
from npkd.nets import Network

BATCH, RATE, MOMENTUM, DECAY = 64, 0.01, 0.9, 5e-4
FIRST = 20  # steps


def batches(dataset: data.Dataset, seed: int, dtype: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """An epoch of normalised images and labels, without augmentation."""
    normalise = Normalisation.of(dataset.train_images)
    order = np.random.default_rng([seed, 1]).permutation(len(dataset.train_labels))
    parts = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    return [
        (normalise(dataset.train_images[part]).astype(dtype), dataset.train_labels[part])
        for part in parts
    ]


def by_npkd(network: Network, shown: list, test: list) -> tuple[list[float], float]:
    """The losses of an epoch, and the accuracy after it."""
    sgd, last, values = SGD(RATE, MOMENTUM, DECAY), network.last, []
    rate = optim.cosine(RATE, steps=len(shown))
    for step, (x, labels) in enumerate(shown):
        sgd.lr = rate(step)
        outputs, backward, state = network.features(x, [last], training=True)
        value, dy = losses.cross_entropy(outputs[last], labels)
        sgd.step(network.params, backward({last: dy}, need_dx=False)[1])
        network.state = state
        values.append(float(value))
    right = [network(x)[0].argmax(axis=1) == labels for x, labels in test]
    return values, float(np.concatenate(right).mean())


def by_pytorch(module, shown: list, test: list) -> tuple[list[float], float]:
    """The same."""
    import torch

    sgd = torch.optim.SGD(module.parameters(), RATE, MOMENTUM, weight_decay=DECAY)
    rate, values = optim.cosine(RATE, steps=len(shown)), []
    for step, (x, labels) in enumerate(shown):
        sgd.param_groups[0]["lr"] = rate(step)
        sgd.zero_grad()
        y = module(torch.from_numpy(x))
        value = torch.nn.functional.cross_entropy(y, torch.from_numpy(labels))
        value.backward()
        sgd.step()
        values.append(value.item())
    module.eval()
    with torch.no_grad():
        right = [module(torch.from_numpy(x)).argmax(1).numpy() == labels for x, labels in test]
    return values, float(np.concatenate(right).mean())


def main() -> None:
    """Train, and print a line for each seed."""
    import torch

    from benchmarks.speed.field_in_torch import in_torch

    parser = argparse.ArgumentParser(prog="python -m benchmarks.epoch", description=__doc__)
    parser.add_argument("data", help="CIFAR-10, or what else npkd.data.load takes")
    parser.add_argument("--net", default="resnet20", help="of npkd.zoo (%(default)s)")
    parser.add_argument("--seeds", type=int, default=5, help="how many (%(default)s)")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float64")
    parser.add_argument("--twin", action="store_true", help="PyTorch beside itself, too")
    arguments = parser.parse_args()
    dataset = data.load(arguments.data)
    normalise = Normalisation.of(dataset.train_images)
    test = [
        (
            normalise(dataset.test_images[part]).astype(arguments.dtype),
            dataset.test_labels[part],
        )
        for part in np.array_split(np.arange(len(dataset.test_labels)), 20)
    ]
    print(f"seed  first {FIRST} losses  all losses  accuracy: npkd, PyTorch  (PyTorch's own)")
    accuracies = []
    for seed in range(arguments.seeds):
        options = {"num_classes": dataset.num_classes, "dtype": arguments.dtype}
        network = zoo.make(arguments.net, seed, **options)
        module = in_torch(arguments.net, network, dataset.num_classes)
        twin, shown = copy.deepcopy(module), batches(dataset, seed, arguments.dtype)
        with torch.no_grad():
            for theta in twin.parameters():
                theta *= 1 + np.finfo(arguments.dtype).eps
        with threads.one_blas_thread():
            found, accuracy = by_npkd(network, shown, test)
        expected, of_pytorch = by_pytorch(module.train(), shown, test)
        accuracies.append((accuracy, of_pytorch))
        off = np.abs(np.subtract(found, expected)) / expected
        line = f"{seed:4}  {off[:FIRST].max():15.1e}  {off.max():10.1e}"
        line += f"  {accuracy:.2%} {of_pytorch:.2%}"
        if arguments.twin:
            own, of_own = by_pytorch(twin.train(), shown, test)
            off = np.abs(np.subtract(own, expected)) / expected
            line += f"  ({off[:FIRST].max():.1e} {off.max():.1e} {of_own:.2%})"
        print(line, flush=True)
    means = np.mean(accuracies, axis=0)
    print(f"mean accuracy {means[0]:.2%} and {means[1]:.2%}")


if __name__ == "__main__":
    main()
