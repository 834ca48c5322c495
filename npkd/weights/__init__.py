"""Parameters of nets to a file and back: .npz, .safetensors, and the state_dicts of PyTorch."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from npkd.files import BadInput, npz_arrays, read_bytes, taking, write_atomically
from npkd.weights import pytorch, safetensors

MOST_BYTES = 1 << 30  # of one file, written or read; the large net has 34 million
FORMS = "an .npz or .safetensors file, or a state_dict of PyTorch"
OTHERS = {  # that are told by how they begin: what they are, and the way out
    b"\x89HDF": "an HDF5 file, as Keras has it; write its arrays with numpy.savez",
    pytorch.OLD: "of the format that PyTorch had before 1.6; in PyTorch, load it and save it again:"
    " torch.save(torch.load(PATH, map_location='cpu'), PATH)",
    b"\x80": "a plain pickle, which may run code and is not read; write its arrays with "
    "numpy.savez",
}


def save_weights(path: str | Path, params: Mapping[str, np.ndarray]) -> None:
    """Write parameters by name: the same bytes for the same parameters.

    path: an .npz file, or one that ends in .safetensors. Raises BadInput for more bytes than
    `load_weights` takes, and for dtypes that the format has not.

    Example
        >>> weights.save_weights("small.npz", npkd.SmallCNN(rng=0).params)
    """
    require_readable(path, sum(theta.nbytes for theta in params.values()))
    if Path(path).suffix == ".safetensors":
        data = safetensors.written(path, params)
        write_atomically(path, lambda file: file.writelines(data))
    else:
        write_atomically(path, lambda file: np.savez(file, **params))  # type: ignore[arg-type]


def load_weights(path: str | Path) -> dict[str, np.ndarray]:
    """The parameters that `save_weights` or a framework wrote; `network.load` takes them.

    path: an .npz file, a .safetensors file, or what `torch.save(net.state_dict(), …)` writes (.pt,
    .pth, .bin), which is read without PyTorch and without running anything in it; so is a
    checkpoint with such a state_dict under a name like "state_dict" or "model", beside plain
    values, which are left out. Which it is its content says, not its name. float16 and bfloat16
    are widened to float32, which is exact. Arrays may be read-only.

    Raises BadInput for anything else, and Unreadable if it cannot be read just now.

    Example
        >>> small, other = npkd.SmallCNN(rng=0), npkd.SmallCNN(rng=1)
        >>> weights.save_weights("small.npz", small.params)
        >>> other.load(weights.load_weights("small.npz"))
        >>> all((other.params[name] == theta).all() for name, theta in small.params.items())
        True
    """
    with np.errstate(invalid="ignore"):  # of a NaN
        return {
            name: theta.astype(np.float32) if theta.dtype == np.float16 else theta
            for name, theta in load_arrays(path).items()
        }


def load_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """`load_weights`, with float16 as it is."""
    data = read_bytes(path, at_most=MOST_BYTES, what=FORMS)
    is_zip = data.startswith(b"PK")
    if safetensors.is_one(data) or (Path(path).suffix == ".safetensors" and not is_zip):
        with taking(path, "a .safetensors file"):
            return safetensors.read(data)
    for begin, what in OTHERS.items():
        if data.startswith(begin):
            raise BadInput(f"{path}: {what}")
    if is_zip and pytorch.is_one(data):
        with taking(path, "a state_dict of PyTorch"):
            return pytorch.read(data)
    with taking(path, "an .npz file" if is_zip else FORMS):
        return npz_arrays(data, at_most=MOST_BYTES)


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """The SHA-256 of arrays with their names, shapes and dtypes, in whatever order they are."""
    found = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        found.update(f"{name} {array.shape} {array.dtype}\n".encode())
        found.update(array.tobytes())
    return found.hexdigest()


def require_readable(path: str | Path, size: int) -> None:
    """Raise BadInput for a file that would be too large for `load_weights` and `load`."""
    if size > MOST_BYTES - (1 << 20):  # what names and headers take
        raise BadInput(f"{path}: {size:,} bytes to be written; npkd reads {MOST_BYTES:,} at most")
