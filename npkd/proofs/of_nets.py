"""Checks of networks; what is judged is a package like npkd, its nets and ops; or one net's class.

A network is `made` of a case by `cnn` or `graph`, and each has its `definition`.
"""

from collections.abc import Callable
from copy import copy
from functools import partial
from statistics import mean, variance
from typing import Any

import numpy as np

from npkd import definitions, gradcheck, ops
from npkd.nets import Layer, Network
from npkd.proofs.cases import Drawn
from npkd.proofs.checks import Check, Finding, _gradients, _worst, close

Made = Callable[[Any, Drawn, np.random.Generator], Network]
Definition = Callable[..., tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]


def cnn(package: Any, case: Drawn, rng: np.random.Generator) -> Network:
    """The network of a case of `cases.cnn`."""
    nets, ops = package.nets, package.ops
    _, channels, height, width = case.shapes["x"]
    options = case.options
    inner, size, padding = (options[name] for name in ("channels", "kernel_size", "padding"))
    cells = ((height + 2 * padding - size + 1) // 2) * ((width + 2 * padding - size + 1) // 2)
    parts = {
        "conv": nets.Conv2d(channels, inner, size, padding=padding),
        "relu1": nets.Function(ops.relu),
        "pool": nets.Function(getattr(ops, options["pool"]), 2),
        "flatten": nets.Function(ops.flatten),
        "fc1": nets.Linear(inner * cells, options["hidden"]),
        "relu2": nets.Function(ops.relu),
        "fc2": nets.Linear(options["hidden"], options["outputs"]),
    }
    network: Network = nets.Network(parts, (channels, height, width), rng, np.float64)
    return network


def _cnn_by_definition(
    network: Network, x: np.ndarray, names: list[str], case: Drawn, rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The outputs of all layers of `cnn`, and of state none."""
    of, p, options = definitions, network.params, case.options
    y = {"conv": of.conv2d(x, p["conv.weight"], p["conv.bias"], padding=options["padding"])}
    y["relu1"] = of.relu(y["conv"])
    y["pool"] = getattr(of, options["pool"])(y["relu1"], 2)
    y["flatten"] = of.flatten(y["pool"])
    y["fc1"] = of.linear(y["flatten"], p["fc1.weight"], p["fc1.bias"])
    y["relu2"] = of.relu(y["fc1"])
    y["fc2"] = of.linear(y["relu2"], p["fc2.weight"], p["fc2.bias"])
    return y, {}


def graph(package: Any, case: Drawn, rng: np.random.Generator) -> Network:
    """The network of a case of `cases.graph`, with any weights and state."""
    nets, before, layers = package.nets, "x", dict[str, Layer]()
    for name, (kind, takes, options) in case.options["layers"].items():
        wired = {"takes": () if takes == (before,) else takes}
        if kind in ("Add", "Concat"):
            layers[name] = getattr(nets, kind)(*takes)
        elif hasattr(nets, kind):
            layers[name] = getattr(nets, kind)(**options, **wired)
        else:
            layers[name] = nets.Function(getattr(package.ops, kind), **wired)
        before = name
    network: Network = nets.Network(layers, case.shapes["x"][1:], rng, np.float64)
    for theta in network.params.values():
        theta[...] = rng.standard_normal(theta.shape)
    for name, value in network.state.items():
        value += rng.integers(9) if name.endswith("tracked") else rng.random(value.shape)
    return network


def _graph_by_definition(
    network: Network, x: np.ndarray, names: list[str], case: Drawn, rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The outputs of all layers of `graph` that those named need, and the new state."""
    of: Any = definitions
    layers, training = case.options["layers"], case.options["training"]
    needed = set(names)
    for name in reversed(layers):
        needed |= set(layers[name][1]) if name in needed else set()
    y, arrays, state = {"x": x}, network.state_dict(), dict(network.state)
    for name, (kind, takes, options) in layers.items():
        if name not in needed:
            continue
        at, xs = f"{name}.", [y[taken] for taken in takes]
        p = {key.removeprefix(at): a for key, a in arrays.items() if key.startswith(at)}
        if kind == "Conv2d":
            windows = {key: options[key] for key in ("stride", "padding", "groups")}
            y[name] = of.conv2d(*xs, p["weight"], p.get("bias"), **windows)
        elif kind == "BatchNorm":
            kept = () if training else (p["running_mean"], p["running_var"])
            y[name] = of.batch_norm(*xs, p["weight"], p["bias"], *kept, epsilon=options["epsilon"])
            if training:
                moved = _remembered(xs[0], p, options["momentum"])
                state |= {at + key: value for key, value in moved.items()}
        elif kind == "Dropout":
            chance, mask = options["p"], np.ones(xs[0].shape)
            if training:
                mask = (rng.random(mask.shape) >= chance) / (1 - chance)
            y[name] = of.dropout(*xs, mask)
        elif kind == "Linear":
            y[name] = of.linear(*xs, p["weight"], p["bias"])
        else:
            y[name] = getattr(of, kind.lower())(*xs)
    return y, state


def _remembered(x: np.ndarray, p: dict[str, np.ndarray], momentum: float) -> dict[str, np.ndarray]:
    """The state of batch norm after a training pass, with the standard library's statistics."""
    channels = [x[:, c].ravel().tolist() for c in range(x.shape[1])]
    fresh: dict[str, Any] = {
        "running_mean": [mean(numbers) for numbers in channels],
        "running_var": [variance(numbers) for numbers in channels],  # the unbiased one
    }
    moved = {
        key: np.array(
            [
                (1 - momentum) * before + momentum * new
                for before, new in zip(p[key].tolist(), values, strict=True)
            ]
        )
        for key, values in fresh.items()
    }
    return moved | {"num_batches_tracked": p["num_batches_tracked"] + 1}


def _document_net_by_ops(x: np.ndarray, p: dict[str, np.ndarray]) -> np.ndarray:
    """The document's nets, from ops: conv, ReLU, conv, ReLU, 2×2 average, linear, ReLU, linear."""
    y, _ = ops.conv2d(x, p["conv1.weight"], p["conv1.bias"], padding=1)
    y, _ = ops.conv2d(np.maximum(y, 0), p["conv2.weight"], p["conv2.bias"], padding=1)
    y, _ = ops.avg_pool2d(np.maximum(y, 0), 2)
    y, _ = ops.linear(y.reshape(len(x), -1), p["fc1.weight"], p["fc1.bias"])
    y, _ = ops.linear(np.maximum(y, 0), p["fc2.weight"], p["fc2.bias"])
    return y


def with_params(network: Network, params: dict[str, np.ndarray]) -> Network:
    """The same network with these very arrays as its parameters, of any dtype, and state in it."""
    other = copy(network)
    other.params = {}
    other = other.astype(next(iter(params.values())).dtype)
    other.params = params
    return other


def _of_everything(
    network: Network, names: list[str] | None = None, training: bool = False
) -> Callable[..., Any]:
    """The network as a function of images and parameters, giving the outputs of the layers named.

    By default its own call, the output of the last layer. What is drawn is drawn alike each time.
    """

    def function(x: np.ndarray, params: dict[str, np.ndarray]) -> Any:
        other, rng = with_params(network, params), np.random.default_rng(0)
        return (
            other(x) if names is None else other.features(x, names, training=training, rng=rng)[:2]
        )

    return function


def _drawn(
    make: Made, package: Any, case: Drawn, rng: np.random.Generator
) -> tuple[Network, np.ndarray, list[str], bool]:
    """A case's network, images, some of its layers, and whether the pass is one of training."""
    network = make(package, case, rng)
    some = [name for name in network.layers if rng.random() < 0.5] or [network.last]
    x = rng.standard_normal(case.shapes["x"])
    return network, x, some, case.options.get("training", False)


def _value(
    make: Made, definition: Definition, package: Any, case: Drawn, rng: np.random.Generator
) -> Finding:
    """Outputs of all layers, of some, and of the last, and the new state; an image by itself."""
    network, x, some, training = _drawn(make, package, case, rng)
    findings = []
    for names in (list(network.layers), some, [network.last]):
        seed = int(rng.integers(1 << 32))
        outputs, _, *states = network.features(
            x, names, training=training, rng=np.random.default_rng(seed)
        )
        y, of_state = definition(network, x, names, case, np.random.default_rng(seed))
        if list(outputs) != names:
            raise AssertionError(f"the outputs are of {list(outputs)}, expected {names}")
        findings += [close(outputs[name], y[name], f"the output of {name}") for name in names]
        for state in states:
            if state.keys() != of_state.keys():
                raise AssertionError(f"the state is {list(state)}, expected {list(of_state)}")
            findings += [close(state[key], of_state[key], key) for key in state]
    alone = np.concatenate([network(image[None])[0] for image in x])
    findings.append(close(alone, network(x)[0], "the value of each image by itself"))
    return _worst(findings)


def _gradient(
    make: Made, package: Any, case: Drawn, rng: np.random.Generator, **options: Any
) -> Finding:
    """From the last layer alone, and from some layers together."""
    network, x, some, training = _drawn(make, package, case, rng)
    args = {"x": x, "params": network.params}
    return _worst(
        [
            _gradients(_of_everything(network, names, training), args, rng, **options)
            for names in ([network.last] if training else None, some)
        ]
    )


def _contract(make: Made, package: Any, case: Drawn, rng: np.random.Generator) -> Finding:
    """`check_contract`; the same gradients again, without dx; network and gradients unchanged."""
    network, x, some, training = _drawn(make, package, case, rng)

    def function(x: np.ndarray, *params: np.ndarray) -> Any:
        named = dict(zip(network.params, params, strict=True))
        y, backward = with_params(network, named)(x)

        def in_order(dy: np.ndarray) -> tuple[np.ndarray, ...]:
            dx, grads = backward(dy)
            return dx, *(grads[name] for name in network.params)

        return y, in_order

    gradcheck.check_contract(function, x, *network.params.values(), rng=rng, batched=[0])
    for names in ([network.last], some):
        before = {key: value.copy() for key, value in network.state_dict().items()}
        outputs, backward, *_ = network.features(x, names, training=training, rng=rng)
        given = {name: rng.standard_normal(output.shape) for name, output in outputs.items()}
        handed_in = {name: gradient.copy() for name, gradient in given.items()}
        (_, grads), (dx, alone) = backward(given), backward(given, need_dx=False)
        if dx is not None or any(np.any(alone[name] != grads[name]) for name in grads):
            raise AssertionError("again, without dx, the gradients by the parameters are others")
        if any(np.any(given[name] != handed_in[name]) for name in given):
            raise AssertionError("a gradient handed in at a layer was changed")
        after = network.state_dict()
        if any(np.any(after[key] != value) for key, value in before.items()):
            raise AssertionError("a pass changed the network")
    return Finding()


def _document_net(
    make: Callable[..., Network], case: Drawn, rng: np.random.Generator
) -> tuple[Network, np.ndarray]:
    network = make(rng, dtype=np.float64, **case.options)
    return network, rng.standard_normal(case.shapes["x"])


def _document_net_value(
    make: Callable[..., Network], case: Drawn, rng: np.random.Generator
) -> Finding:
    network, x = _document_net(make, case, rng)
    return close(network(x)[0], _document_net_by_ops(x, network.params), "the value")


def _of_document_net(
    make: Callable[..., Network], case: Drawn, rng: np.random.Generator, **options: Any
) -> Finding:
    network, x = _document_net(make, case, rng)
    return _gradients(_of_everything(network), {"x": x, "params": network.params}, rng, **options)


def checks_of_made(make: Made, definition: Definition) -> dict[str, Check]:
    """The checks of networks that are made of cases."""
    return {
        "value": partial(_value, make, definition),
        "direction": partial(_gradient, make),
        "entries": partial(_gradient, make, entrywise=True),
        "contract": partial(_contract, make),
    }


CHECKS_OF_CNN = checks_of_made(cnn, _cnn_by_definition)


CHECKS_OF_GRAPH = checks_of_made(graph, _graph_by_definition)


CHECKS_OF_A_DOCUMENT_NET: dict[str, Check] = {
    "value": _document_net_value,
    "direction": _of_document_net,
    "entries": partial(_of_document_net, entrywise=True, sample=1),
}
