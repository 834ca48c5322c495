"""Parameters of nets to a file and back: .npz, or .safetensors where that is installed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from npkd.files import BadInput, read_bytes, read_npz, taking, write_atomically

MOST_BYTES = 1 << 30  # of one file, written or read; the large net has 34 million


def save_weights(path: str | Path, params: Mapping[str, np.ndarray]) -> None:
    """Write parameters by name: the same bytes for the same parameters.

    path: an .npz file, or one that ends in .safetensors, which needs that package (the extra
    `frameworks`). Raises BadInput without it, or for more bytes than `load_weights` takes.

    Example
        >>> weights.save_weights("small.npz", npkd.SmallCNN(rng=0).params)
    """
    require_readable(path, sum(theta.nbytes for theta in params.values()))
    if Path(path).suffix == ".safetensors":
        contiguous = {name: np.asarray(theta, order="C") for name, theta in params.items()}
        data = _safetensors(path).save(contiguous)
        write_atomically(path, lambda file: file.write(data))
    else:
        write_atomically(path, lambda file: np.savez(file, **params))  # type: ignore[arg-type]


def load_weights(path: str | Path) -> dict[str, np.ndarray]:
    """The parameters that `save_weights` or a framework wrote; `network.load` takes them.

    Raises BadInput for anything but an .npz or .safetensors file of plain arrays, Unreadable if it
    cannot be read just now.

    Example
        >>> small, other = npkd.SmallCNN(rng=0), npkd.SmallCNN(rng=1)
        >>> weights.save_weights("small.npz", small.params)
        >>> other.load(weights.load_weights("small.npz"))
        >>> all((other.params[name] == theta).all() for name, theta in small.params.items())
        True
    """
    if Path(path).suffix != ".safetensors":
        return read_npz(path, at_most=MOST_BYTES)
    safetensors, what = _safetensors(path), "a .safetensors file"
    with taking(path, what):
        return safetensors.load(read_bytes(path, at_most=MOST_BYTES, what=what))


def _safetensors(path: str | Path) -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise BadInput(
            f"{path}: this format needs safetensors; install it with pip install "
            "'npkd[frameworks]', or take .npz"
        ) from error
    return safetensors.numpy


def require_readable(path: str | Path, size: int) -> None:
    """Raise BadInput for a file that would be too large for `load_weights` and `load`."""
    if size > MOST_BYTES - (1 << 20):  # what names and headers take
        raise BadInput(f"{path}: {size:,} bytes to be written; npkd reads {MOST_BYTES:,} at most")
