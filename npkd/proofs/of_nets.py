"""Checks of networks; what is judged is a package like npkd.nets, or the class of one net."""

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from npkd import definitions, gradcheck, ops
from npkd.nets import Network
from npkd.proofs.cases import Drawn
from npkd.proofs.checks import Check, Finding, _gradients, _worst, close


def cnn(module: ModuleType, case: Drawn, rng: np.random.Generator) -> Network:
    """The network of a case of `cases.cnn`, its layers and all from a package like npkd.nets."""
    _, channels, height, width = case.shapes["x"]
    options = case.options
    inner, size, padding = (options[name] for name in ("channels", "kernel_size", "padding"))
    cells = ((height + 2 * padding - size + 1) // 2) * ((width + 2 * padding - size + 1) // 2)
    parts = {
        "conv": module.Conv2d(channels, inner, size, padding=padding),
        "relu1": module.Function(ops.relu),
        "pool": module.Function(getattr(ops, options["pool"]), 2),
        "flatten": module.Function(ops.flatten),
        "fc1": module.Linear(inner * cells, options["hidden"]),
        "relu2": module.Function(ops.relu),
        "fc2": module.Linear(options["hidden"], options["outputs"]),
    }
    network: Network = module.Network(parts, (channels, height, width), rng, np.float64)
    return network


def _cnn_by_definition(
    x: np.ndarray, p: dict[str, np.ndarray], options: dict[str, Any]
) -> dict[str, np.ndarray]:
    """The outputs of all layers of `cnn`."""
    of = definitions
    y = {"conv": of.conv2d(x, p["conv.weight"], p["conv.bias"], padding=options["padding"])}
    y["relu1"] = of.relu(y["conv"])
    y["pool"] = getattr(of, options["pool"])(y["relu1"], 2)
    y["flatten"] = of.flatten(y["pool"])
    y["fc1"] = of.linear(y["flatten"], p["fc1.weight"], p["fc1.bias"])
    y["relu2"] = of.relu(y["fc1"])
    y["fc2"] = of.linear(y["relu2"], p["fc2.weight"], p["fc2.bias"])
    return y


def _document_net_by_ops(x: np.ndarray, p: dict[str, np.ndarray]) -> np.ndarray:
    """The document's nets, from ops: conv, ReLU, conv, ReLU, 2×2 average, linear, ReLU, linear."""
    y, _ = ops.conv2d(x, p["conv1.weight"], p["conv1.bias"], padding=1)
    y, _ = ops.conv2d(np.maximum(y, 0), p["conv2.weight"], p["conv2.bias"], padding=1)
    y, _ = ops.avg_pool2d(np.maximum(y, 0), 2)
    y, _ = ops.linear(y.reshape(len(x), -1), p["fc1.weight"], p["fc1.bias"])
    y, _ = ops.linear(np.maximum(y, 0), p["fc2.weight"], p["fc2.bias"])
    return y


def with_params(network: Network, params: dict[str, np.ndarray]) -> Network:
    """The same network with these very arrays as its parameters, of any dtype."""
    other: Network = object.__new__(type(network))
    other.__dict__.update(network.__dict__ | {"params": params})
    return other


def _of_everything(network: Network, names: list[str] | None = None) -> Callable[..., Any]:
    """The network as a function of images and parameters, giving the outputs of the layers named.

    By default its own call, the output of the last layer.
    """

    def function(x: np.ndarray, params: dict[str, np.ndarray]) -> Any:
        other = with_params(network, params)
        return other(x) if names is None else other.features(x, names)

    return function


def _cnn_value(module: ModuleType, case: Drawn, rng: np.random.Generator) -> Finding:
    network = cnn(module, case, rng)
    x = rng.standard_normal(case.shapes["x"])
    outputs, _ = network.features(x, network.layers)
    expected = _cnn_by_definition(x, network.params, case.options)
    found = [close(outputs[name], expected[name], f"the output of {name}") for name in expected]
    return _worst([*found, close(network(x)[0], expected["fc2"], "the value")])


def _of_cnn(module: ModuleType, case: Drawn, rng: np.random.Generator, **options: Any) -> Finding:
    """From the last layer alone, and from some layers together."""
    network = cnn(module, case, rng)
    x = rng.standard_normal(case.shapes["x"])
    args = {"x": x, "params": network.params}
    some = [name for name in network.layers if rng.random() < 0.5] or ["pool"]
    return _worst(
        [_gradients(_of_everything(network, names), args, rng, **options) for names in (None, some)]
    )


def _cnn_contract(module: ModuleType, case: Drawn, rng: np.random.Generator) -> Finding:
    """`check_contract`; the same gradients without dx; gradients handed in at layers unchanged."""
    network = cnn(module, case, rng)
    x = rng.standard_normal(case.shapes["x"])

    def function(x: np.ndarray, *params: np.ndarray) -> Any:
        named = dict(zip(network.params, params, strict=True))
        y, backward = with_params(network, named)(x)

        def in_order(dy: np.ndarray) -> tuple[np.ndarray, ...]:
            dx, grads = backward(dy)
            return dx, *(grads[name] for name in network.params)

        return y, in_order

    gradcheck.check_contract(function, x, *network.params.values(), rng=rng, batched=[0])
    y, backward = network(x)
    dy = rng.standard_normal(y.shape)
    (_, grads), (dx, alone) = backward(dy), backward(dy, need_dx=False)
    if dx is not None or any(np.any(alone[name] != grads[name]) for name in grads):
        raise AssertionError("without dx the gradients by the parameters are others")
    outputs, backward = network.features(x, ["pool", "flatten"])  # flatten hands on a view
    given = {name: rng.standard_normal(output.shape) for name, output in outputs.items()}
    before = {name: gradient.copy() for name, gradient in given.items()}
    backward(given)
    if any(np.any(given[name] != before[name]) for name in given):
        raise AssertionError("a gradient handed in at a layer was changed")
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


CHECKS_OF_CNN: dict[str, Check] = {
    "value": _cnn_value,
    "direction": _of_cnn,
    "entries": partial(_of_cnn, entrywise=True),
    "contract": _cnn_contract,
}


CHECKS_OF_A_DOCUMENT_NET: dict[str, Check] = {
    "value": _document_net_value,
    "direction": _of_document_net,
    "entries": partial(_of_document_net, entrywise=True, sample=1),
}
