"""Step 6 for anybody's images: what the nets of a finished run say of those that it never saw."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from npkd import ops
from npkd.arguments import is_integer, shown
from npkd.data import image_folder, read_image
from npkd.data.images import sizes_of, standard_form, standard_shape
from npkd.data.recognised import counted
from npkd.data.sources import MOST_BYTES
from npkd.distill.finished_run import FinishedRun
from npkd.distill.outputs import BATCH, Outputs, predictions
from npkd.distill.report.table import IN_EIGHT_BITS, NAMES
from npkd.engine import threads
from npkd.files import BadInput, npy_in_file, read_npz, reading

NETS = ("large", "small")
ASKED = (*NAMES, *IN_EIGHT_BITS)


class Predictor(FinishedRun):
    """The nets of a finished run that classifies, to be asked for the classes of new images.

    folder: the run's, with report.json and the weights of the nets that are asked. Called with
    images, it gives `Predictions`; net: "small", the distilled one, "large", "small_from_labels",
    or one of these with _int8 behind it, as `npkd quantise` has made it.

    images are
        a file of one image, as `data.read_image` takes it, or its bytes; a folder, which stands for
        the images in it, in order of name; an .npy file of an array of images, or an .npz file with
        one called images (others in it are left out), or with one alone
        or an array of uint8, (N, H, W), (N, C, H, W) or (N, H, W, C), C from 1 to 4; or of one
        image, (H, W), (H, W, C) or (C, H, W)
        or a list of any of these, whose arrays are of one image each

    An array (C, H, W) that might be of three grey images as well is refused.

    All go the way of the run's own. Its reader brings them to its size S×S, border and background;
    images of S×S are taken to have that border. Then they are normalised by its training images,
    and the small net is shown them as it was trained, the large one in full resolution. Images in
    files have three channels; grey ones are also for a run on images of one.

    Raises what `FinishedRun` does, and BadInput for a run that super-resolves; called, for weights
    that are not the run's, and for the first image that cannot be taken.

    Example
        >>> from npkd import cli, data
        >>> digits, few = data.load("mnist5k"), slice(0, None, 50)
        >>> np.savez("few.npz", images=digits.train_images[few], labels=digits.train_labels[few])
        >>> quick = ["--size", "8", "--epochs", "1", "--large-epochs", "1"]
        >>> cli.main(["distill", "--data", "few.npz", "--out", "run", *quick])
        npkd ... few, 70 images to train and 10 to test, ...
        0
        >>> found = npkd.Predictor("run")(digits.test_images[:2])
        >>> found.probabilities.shape, found.probabilities.sum(axis=1).round(6)
        ((2, 10), array([1., 1.]))
        >>> found.names == [name for [(name, probability)] in found.top(1)]
        True
    """

    def __init__(self, folder: str | Path):
        super().__init__(folder)
        if self.report["task"] != "classify":
            raise BadInput(
                f"{folder}: its run was to {self.report['task']}: its nets make images, and no "
                "classes; expected one that classifies"
            )

    def __call__(self, images: Any, *, net: str = "small") -> "Predictions":
        """What a net says of all of them."""
        if net not in ASKED:
            raise ValueError(f"net is {shown(net)}, expected one of {ASKED}")
        names, logits = [], [np.empty((0, len(self.class_names)), np.float32)]
        for one in self.each(given(images, self.image_shape[0])[0], [net]):
            if one.problem:
                raise one.problem
            names.append(one.image)
            logits.append(one.logits[net][None])
        return Predictions(tuple(names), self.class_names, np.concatenate(logits))

    def each(self, sources: Sequence["Source"], nets: Sequence[str]) -> Iterator["Predicted"]:
        """What nets say of each image, one after the other; a batch of them is in memory.

        An image that cannot be taken does not keep the others from it. Raises BadInput at once for
        files of the run that are not what they should be.
        """
        for net in nets:
            self.net(net)
        if any(source.is_file for source in sources):
            try:
                image_folder.require_colour(self.background)
            except BadInput:
                raise
            except ValueError as error:
                raise BadInput(f"{self.folder / 'report.json'}: data.{error}") from error
        return self._predicted(sources, nets)

    def _predicted(self, sources: Sequence["Source"], nets: Sequence[str]) -> Iterator["Predicted"]:
        images = ((name, read) for source in sources for name, read in source.each())
        while part := list(islice(images, BATCH)):
            stored = [self._stored(name, read) for name, read in part]
            taken = [image for image in stored if isinstance(image, np.ndarray)]
            logits = {net: self._logits(net, np.stack(taken)) for net in nets if taken}
            row = 0
            for (name, _), image in zip(part, stored, strict=True):
                if isinstance(image, BadInput):
                    yield Predicted(name, {}, image)
                    continue
                of_one = {net: y[row] for net, y in logits.items()}
                row += 1
                problem = None
                if not all(np.isfinite(y).all() for y in of_one.values()):
                    problem = BadInput(f"{name}: the outputs for it are not finite")
                yield Predicted(name, of_one, problem)

    def _logits(self, net: str, images: np.ndarray) -> np.ndarray:
        """(B, C, S, S) as stored → (B, K), in the way of a run's test."""
        with threads.one_blas_thread(), np.errstate(all="ignore"):
            return Outputs(self.net(net), images, self.view(net))[:]

    def _stored(self, name: str, read: Callable[[], Any]) -> np.ndarray | BadInput:
        """An image as the run's data set would hold it, (C, S, S); or why not."""
        channels = self.image_shape[0]
        try:
            image = read()
            is_array = isinstance(image, np.ndarray)
            stored = (self._of_array if is_array else self._of_file)(name, image)
            is_grey = len(stored) == 3 and (stored == stored[:1]).all()
            if is_grey and channels == 1:
                stored = stored[:1]
            if len(stored) != channels:
                found = "a grey image" if is_grey else f"an image of {len(stored)} channels"
                raise BadInput(
                    f"{name}: {found}, expected {counted(channels, 'channel')}, as the run's "
                    "images have"
                )
        except BadInput as error:
            return error
        return stored

    def _of_file(self, name: str, image: Path | bytes) -> np.ndarray:
        of_run = {"background": self.background, "border": self.border}
        try:
            return read_image(image, size=self.image_shape[-1], **of_run)
        except BadInput as error:
            if isinstance(image, Path):
                raise
            raise BadInput(f"{name}: {str(error).removeprefix('the image: ')}") from error

    def _of_array(self, name: str, image: np.ndarray) -> np.ndarray:
        images, side = image[None], self.image_shape[-1]
        has_border = sizes_of(images.shape)[1:] == (side, side)
        border = 0 if has_border else self.border
        stored = standard_form(images, name, side - 2 * border)[0]
        return np.pad(stored, ((0, 0), (border, border), (border, border)))


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a net says of N images, for K classes.

    images: what they are called, their paths, say. logits: the net's outputs, (N, K) float32.
    """

    images: tuple[str, ...]
    class_names: tuple[str, ...]
    logits: np.ndarray

    @property
    def probabilities(self) -> np.ndarray:
        """(N, K) float64, the softmax of the logits."""
        return ops.softmax(self.logits.astype(np.float64))[0]

    @property
    def labels(self) -> np.ndarray:
        """(N,) int64: of each image the class of the largest logit, as an index."""
        return predictions(self.logits)

    @property
    def names(self) -> list[str]:
        """And its name."""
        return [self.class_names[label] for label in self.labels]

    def top(self, count: int) -> list[list[tuple[str, float]]]:
        """Of each image so many classes, the likeliest first, with their probabilities.

        Raises ValueError unless count is a whole number from 1.
        """
        if not is_integer(count) or count < 1:
            raise ValueError(f"count is {shown(count)}, expected a whole number from 1")
        return [likeliest(row, self.class_names, count) for row in self.logits]


def likeliest(
    logits: np.ndarray, class_names: Sequence[str], count: int
) -> list[tuple[str, float]]:
    """The names of so many classes, the first of equal ones first, and their probabilities."""
    probabilities, _ = ops.softmax(logits.astype(np.float64))
    order = np.argsort(-logits, kind="stable")[:count]
    return [(class_names[label], float(probabilities[label])) for label in order]


class Predicted(NamedTuple):
    """What nets say of one image: logits (K,) by net; or the problem with it."""

    image: str
    logits: dict[str, np.ndarray]
    problem: BadInput | None = None


@dataclass(frozen=True)
class Source:
    """What is given together: what it is called, and what gives its images by their numbers.

    many: how many there are; None for a single one, which has the name of the whole.
    is_file: whether it is a file of one image, or its bytes.
    """

    name: str
    read: Callable[[int], Any]
    many: int | None = None
    is_file: bool = False

    def each(self) -> Iterator[tuple[str, Callable[[], Any]]]:
        """The images: the name of each, and what reads it."""
        for number in range(len(self)):
            yield self.called(number), partial(self.read, number)

    def called(self, number: int) -> str:
        """The name of an image."""
        return self.name if self.many is None else f"{self.name}[{number}]"

    def __len__(self) -> int:
        return 1 if self.many is None else self.many


def given(images: Any, channels: int) -> tuple[list[Source], list[str]]:
    """What `Predictor` takes, and what was left out of it, a sentence for each folder or file.

    channels: those of the run's images. A file or folder that cannot be read is a source of one
    image that cannot be.
    """
    if isinstance(images, np.ndarray):
        return [_of_array("images", images, channels)], []
    if isinstance(images, str | Path | bytes | bytearray | memoryview):
        images = [images]
    if not isinstance(images, Sequence):
        raise BadInput(f"images is {shown(images)}, expected paths or arrays of uint8")
    sources: list[Source] = []
    notes: list[str] = []
    for number, one in enumerate(images):
        name = f"images[{number}]"
        if isinstance(one, np.ndarray):
            sources.append(_of_image(name, one))
        elif isinstance(one, bytes | bytearray | memoryview):
            sources.append(Source(name, _giving(bytes(one)), is_file=True))
        elif isinstance(one, str | Path) and one != "":  # "" would be the current folder
            sources += _of_path(Path(one), notes, channels)
        else:
            raise BadInput(f"{name} is {shown(one)}, expected a path or an array of uint8")
    return sources, notes


def _of_path(path: Path, notes: list[str], channels: int) -> list[Source]:
    try:
        with reading(path, "an image"):
            if path.is_dir():
                left_out: Counter[str] = Counter()
                files = image_folder.images_in(path, left_out)
                if left_out := +left_out:
                    notes.append(f"{path}: {image_folder.in_words(left_out)}")
                if not files:
                    raise BadInput(f"{path}: a folder without images")
                return [_of_file(file) for file in files]
            if path.suffix.lower() in (".npy", ".npz"):
                is_npy = path.suffix.lower() == ".npy"
                images = npy_in_file(path) if is_npy else _only(path, notes)
                source = _of_array(str(path), images, channels)
                if not len(source):
                    raise BadInput(f"{path}: an array without images, of shape {images.shape}")
                return [source]
    except BadInput as error:
        return [Source(str(path), _refusing(error))]
    return [_of_file(path)]


def _of_file(path: Path) -> Source:
    return Source(str(path), _giving(path), is_file=True)


def _of_array(name: str, images: Any, channels: int) -> Source:
    """An array that is given alone: of many images, or of one.

    Three axes are those of grey images, unless the last is that of channels, which no image is as
    narrow as, or the first, in a run that takes no grey images.
    """
    shape = images.shape
    if len(shape) == 3 and shape[0] == channels == 3:
        raise BadInput(
            f"{name}: an array of shape {shape} may be three grey images or one of three channels; "
            "give images[:, None] if it is the former, images[None] if the latter"
        )
    if len(shape) == 2 or (
        len(shape) == 3 and (shape[2] <= 4 < min(shape[:2]) or shape[0] == channels in (2, 4))
    ):
        return _of_image(name, images)
    _require_no_mask(name, images)
    standard_shape(shape, images.dtype, name, 32)  # of any size: refused at once, if at all
    return Source(name, images.__getitem__, len(images))


def _of_image(name: str, image: Any) -> Source:
    """An array of one image."""
    _require_no_mask(name, image)
    channels, height, width = sizes_of((1, *image.shape))
    if image.dtype != np.uint8 or not (1 <= channels <= 4 and height and width):
        raise BadInput(
            f"{name}: has shape {image.shape} of {image.dtype}; expected one image of uint8, 0 to "
            "255, as (H, W), (C, H, W) or (H, W, C) with 1 to 4 channels C"
        )
    return Source(name, lambda number: image[...])


def _require_no_mask(name: str, array: Any) -> None:
    if isinstance(array, np.ma.MaskedArray):
        raise BadInput(f"{name}: a masked array; expected one without a mask: array.filled(0), say")


def _only(path: Path, notes: list[str]) -> np.ndarray:
    """The array of images in an .npz file."""
    arrays = read_npz(path, at_most=MOST_BYTES)
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    if "images" not in arrays:
        found = ", ".join(sorted(arrays)) or "nothing"
        raise BadInput(f"{path}: no array named images; it holds {found}")
    images = arrays.pop("images")
    if others := [other for other, array in arrays.items() if array.ndim > 2]:
        notes.append(f"{path}: images alone; left out {', '.join(others)}")
    return images


def _giving(image: Any) -> Callable[[int], Any]:
    return lambda number: image


def _refusing(error: BadInput) -> Callable[[int], Any]:
    def read(number: int) -> Any:
        raise error

    return read
