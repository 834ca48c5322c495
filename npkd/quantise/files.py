"""A net in eight bits as an .npz file: its weights, and the scales of its outputs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from npkd.files import BadInput, read_npz
from npkd.nets import BatchNorm, Network
from npkd.nets.network import IMAGES
from npkd.quantise.network import Quantised, Weights, floats, steps_of
from npkd.quantise.ops import Scale
from npkd.weights import MOST_BYTES, save_weights

DTYPES = {"weight": np.int8, "weight_scale": np.float32, "bias": np.int32}


def save(path: str | Path, net: Quantised) -> None:
    """Write it. Raises what `save_weights` does, and OSError."""
    save_weights(path, net.state_dict())


def load(path: str | Path, network: Network) -> Quantised:
    """The net in eight bits of a file, of this net of floats, whose layers it has.

    What it has as floats is the file's too.

    Raises BadInput for arrays that are not of such a net, and what `read_npz` does.
    """
    try:
        return made(network, read_npz(path, at_most=MOST_BYTES))
    except BadInput:
        raise
    except ValueError as error:
        raise BadInput(f"{path}: {error}") from error


def made(network: Network, held: Mapping[str, np.ndarray]) -> Quantised:
    """The net of these arrays. Raises ValueError for any that are not as they should be."""
    steps = steps_of(network)
    expected: dict[str, tuple[Any, tuple[int, ...]]] = {}
    for name in (IMAGES, *(step.name for step in steps)):
        expected |= {f"{name}/scale": (np.float32, ()), f"{name}/zero_point": (np.uint8, ())}
    for step in steps:
        if step.has_weights:
            layer = network.layers[step.layers[0]]
            shape = layer.shapes["weight"]
            if isinstance(layer, BatchNorm):  # a convolution of each channel by itself
                shape = (*shape, 1, 1, 1)
            for key, dtype in DTYPES.items():
                expected[f"{step.name}/{key}"] = (dtype, shape if key == "weight" else shape[:1])
    arrays = network.state_dict()
    own = floats(network, steps)
    expected |= {name: (arrays[name].dtype, arrays[name].shape) for name in own}
    for name in sorted(expected.keys() ^ held.keys()):
        has = "lacks" if name in expected else "has an array that is not of such a net,"
        raise ValueError(f"{has} {name}")
    for name, (dtype, shape) in expected.items():
        array = held[name]
        if array.dtype != dtype or array.shape != shape:
            wanted = f"{np.dtype(dtype)} {shape}"
            raise ValueError(f"{name} is {array.dtype} {array.shape}, expected {wanted}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} has values that are not finite")
        if name.endswith(("/scale", "/weight_scale")) and not (array > 0).all():
            raise ValueError(f"{name} is not above 0")
    scales = {
        name.removesuffix("/scale"): Scale(
            np.float32(held[name]), int(held[f"{name.removesuffix('scale')}zero_point"])
        )
        for name in expected
        if name.endswith("/scale")
    }
    weights = {
        step.name: Weights(*(held[f"{step.name}/{key}"] for key in DTYPES))
        for step in steps
        if f"{step.name}/weight" in expected
    }
    if own:
        network = network.astype(network.dtype)  # a copy
        network.load(arrays | {name: held[name] for name in own})
    made = Quantised(network, steps, scales, weights)
    made.prepare()
    return made
