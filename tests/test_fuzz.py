"""Thousands of malformed inputs, and what each gets: one clear line, whatever it is.

No other exception, no warning, no hang, no memory beyond what is read, no code run, nothing
overwritten. What damage leaves sound (another pixel, say) may be read; then it is sound.
`pytest tests/test_fuzz.py --inputs N` sets how many; the figures by kind stand at the end.
"""

import gzip
import io
import json
import pickle
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import malformed
import numpy as np
import pytest
import tiny
from malformed import content, signed

from npkd import cli, distill, losses, ops, weights, zoo
from npkd.data import Augmentation, Dataset, Normalisation, batches, load, split
from npkd.distill import checkpoint, resuming
from npkd.engine import threads
from npkd.nets import Function, Linear, Network, SmallCNN
from npkd.optim import SGD, Adam

Files = dict[str, bytes]


# Data sets, by their readers and by the command


LABELS = np.arange(12) % 2


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


TEN = {"train": "data_batch_1", "test": "test_batch", "key": "labels", "meta": "batches.meta"}
TEN |= {"names": "batches.meta.txt", "names_key": "label_names"}
HUNDRED = {"train": "train", "test": "test", "key": "fine_labels", "meta": "meta"}
HUNDRED |= {"names": "fine_label_names.txt", "names_key": "fine_label_names"}


def binary(canary: str, cifar: dict[str, str] = TEN) -> tuple[Files, dict]:
    """CIFAR's binary layout: sound files, and further ways of damage."""
    heads = LABELS[:, None].astype(np.uint8).repeat(1 if cifar is TEN else 2, 1)
    records = np.hstack([heads, pixels(12, 3072)])
    train = f"{cifar['train']}.bin"

    def wrong_labels(rng: np.random.Generator) -> Files:
        wrong = records.copy()
        wrong[rng.integers(12), heads.shape[1] - 1] = rng.integers(10 if cifar is TEN else 100, 256)
        return {train: wrong.tobytes()}

    def wrong_names(rng: np.random.Generator) -> Files:
        return {cifar["names"]: [b"", b"\xff", b"one", b"a\nb", b"a\n" * 99][rng.integers(5)]}

    sound = {train: records.tobytes(), f"{cifar['test']}.bin": records.tobytes()}
    return sound, {"wrong labels": wrong_labels, "wrong class names": wrong_names}


def python(canary: str, cifar: dict[str, str] = TEN) -> tuple[Files, dict]:
    """CIFAR's python layout."""
    key, train, test = (cifar[name] for name in ("key", "train", "test"))
    content = {"data": pixels(12, 3072), key: LABELS.tolist()}

    def altered(kind: str) -> Callable[[np.random.Generator], Files]:
        def alter(rng: np.random.Generator) -> Files:
            name = ["data", key][rng.integers(2)]
            wrong = content | {name: malformed.ALTERED[kind](np.array(content[name]), rng)}
            if name == key and rng.integers(2):
                listed = [list, np.ndarray.tolist][rng.integers(2)]  # of NumPy's numbers or not
                wrong[name] = listed(np.atleast_1d(wrong[name]))
            return {train: pickle.dumps(wrong, int(rng.integers(6)))}

        return alter

    def wrong_names(rng: np.random.Generator) -> Files:
        names: Any = [None, 3, [], ["a"], [b"a", "b"], [1, 2], {"a": 1}, ["a"] * 99]
        return {cifar["meta"]: pickle.dumps({cifar["names_key"]: names[rng.integers(8)]})}

    sound = pickle.dumps(content, 2)
    return {train: sound, test: sound}, {
        **{kind: altered(kind) for kind in malformed.ALTERED},
        "wrong class names": wrong_names,
        "huge sizes": lambda rng: {train: malformed.huge_pickle(rng)},
        "code in a pickle": lambda rng: {
            [test, cifar["meta"]][rng.integers(2)]: malformed.other_pickle(canary, rng)
        },
    }


ARRAYS = {
    "images": pixels(12, 28, 28),
    "labels": LABELS,
    "test_images": pixels(12, 28, 28),
    "test_labels": LABELS,
}


def altered_arrays(write: Callable[[dict[str, Any]], Files], canary: str) -> dict:
    """Ways of damage to the four arrays."""

    def one(alter: Callable[[np.ndarray, np.random.Generator], Any]) -> Callable:
        def damage(rng: np.random.Generator) -> Files:
            name = list(ARRAYS)[rng.integers(4)]
            return write(ARRAYS | {name: alter(ARRAYS[name], rng)})

        return damage

    def misnamed(rng: np.random.Generator) -> Files:
        kept = {name: array for name, array in ARRAYS.items() if rng.integers(2)}
        return write({**kept, malformed.NAMES[rng.integers(10)].replace("\0", ""): LABELS})

    return {
        **{kind: one(alter) for kind, alter in malformed.ALTERED.items()},
        "code in a pickle": one(lambda _, rng: np.array([malformed.harmful(canary, rng)])),
        "missing and odd names": misnamed,
    }


def idx(canary: str, ending: str = "") -> tuple[Files, dict]:
    """MNIST's four files, as they are or packed."""
    pack = gzip.compress if ending else bytes
    bombs = malformed.gzip_bombs()

    def named(arrays: dict[str, np.ndarray]) -> Files:
        return {
            f"{part}-{what}-idx{axes}-ubyte{ending}": pack(malformed.idx(arrays[f"{name}{what}"]))
            for part, name in (("train", ""), ("t10k", "test_"))
            for what, axes in (("images", 3), ("labels", 1))
        }

    whole = {name: array.astype(np.uint8) for name, array in ARRAYS.items()}
    files = named(whole)

    def altered(kind: str) -> Callable[[np.random.Generator], Files]:
        def alter(rng: np.random.Generator) -> Files:
            name = list(whole)[rng.integers(4)]
            wrong = malformed.ALTERED[kind](whole[name], rng)
            if wrong.dtype.hasobject or max(wrong.shape, default=0) >= 2**32:
                wrong = wrong.ravel()[:0].astype(np.uint8)
            return named(whole | {name: wrong})

        return alter

    def one(make: Callable[[np.random.Generator], bytes]) -> Callable:
        return lambda rng: {list(files)[rng.integers(4)]: make(rng)}

    return files, {
        **{kind: altered(kind) for kind in malformed.ALTERED},
        "huge sizes": one(lambda rng: pack(malformed.huge_idx(rng))),
        "zip bombs": one(lambda rng: bombs[rng.integers(3)]),
        "code in a pickle": one(lambda rng: pack(malformed.other_pickle(canary, rng))),
    }


def npz(canary: str) -> tuple[Files, dict]:
    """One .npz file."""
    bombs = [malformed.bomb(), malformed.bomb(9504), malformed.overlapping_bomb()]

    def write(arrays: dict[str, Any]) -> Files:
        return {"a.npz": malformed.npz(arrays, compressed=True)}

    def huge(rng: np.random.Generator) -> Files:
        return {"a.npz": malformed.huge_npz(list(ARRAYS)[rng.integers(4)], rng)}

    def no_array(rng: np.random.Generator) -> Files:
        name = ["images", "images.npy", "../images.npy", "/images.npy", "/"][rng.integers(5)]
        return {"a.npz": malformed.zipped({name: pickle.dumps(malformed.harmful(canary, rng))})}

    return write(ARRAYS), {
        **altered_arrays(write, canary),
        "huge sizes": huge,
        "no arrays in it": no_array,
        "zip bombs": lambda rng: {"a.npz": bombs[rng.integers(3)]},
    }


def npy(canary: str) -> tuple[Files, dict]:
    """A folder of .npy files."""

    def write(arrays: dict[str, Any]) -> Files:
        return {
            f"{name}.npy": malformed.npy(array)
            for name, array in arrays.items()
            if "\0" not in name
        }

    def huge(rng: np.random.Generator) -> Files:
        return {f"{list(ARRAYS)[rng.integers(4)]}.npy": malformed.huge_npy(rng)}

    damage = altered_arrays(write, canary)
    del damage["missing and odd names"]
    return write(ARRAYS), {**damage, "huge sizes": huge}


def folder(canary: str) -> tuple[Files, dict]:
    """A folder of images by class."""
    image_module = pytest.importorskip("PIL.Image")

    def encoded(mode: str, size: tuple[int, int], ending: str) -> bytes:
        file = io.BytesIO()
        image_module.new(mode, size).save(file, ending)
        return file.getvalue()

    def other(rng: np.random.Generator) -> Files:
        mode = ["1", "L", "P", "RGB", "I;16", "F", "CMYK", "LA", "RGBA", "I", "LAB"][
            rng.integers(11)
        ]
        size = [(32, 32), (31, 32), (1, 1), (32, 3000), (64, 64)][rng.integers(5)]
        ending = "TIFF" if mode in ("F", "CMYK", "I;16", "LA", "I", "LAB") else "PNG"
        return {"train/a/0.png": encoded(mode, size, ending)}

    files = {
        f"{name}.{ending}": encoded("RGB", (32, 32), {"jpg": "jpeg"}.get(ending, ending))
        for name, ending in (
            *(("train/a/0", "png"), ("train/a/1", "jpg"), ("train/b/0", "bmp")),
            *(("train/b/1", "gif"), ("test/a/0", "ppm"), ("test/b/0", "png")),
            *(("train/a/2", "webp"), ("train/b/2", "tiff")),
        )
    }
    return files, {
        "wrong size and mode": other,
        "huge sizes": lambda rng: {"train/a/0.png": malformed.huge_image(rng)},
        "code in a pickle": lambda rng: {"test/b/0.png": malformed.other_pickle(canary, rng)},
    }


def sound(dataset: Dataset) -> None:
    """What a reader returns is what the rest of npkd counts on."""
    for images, labels in (
        (dataset.train_images, dataset.train_labels),
        (dataset.test_images, dataset.test_labels),
    ):
        part = images[:]
        assert part.shape == images.shape == (len(labels), *dataset.image_shape)
        assert dataset.image_shape == (3, 32, 32)
        assert part.dtype == np.uint8
        assert labels.dtype == np.int64
        assert 0 <= labels.min() <= labels.max() < dataset.num_classes
    assert Normalisation.of(dataset.train_images).std.all()


class Command:
    """The command, sent into a folder that holds a finished run; so it always has to refuse."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture):
        self.folder, self.capsys = folder, capsys
        folder.mkdir()
        (folder / "report.json").write_text("{}")
        (folder / "small.npz").write_bytes(b"weights")

    def distill(self, *arguments: str) -> None:
        """`npkd distill`: raise its one line as a ValueError."""
        self.run("distill", *arguments, "--out", str(self.folder))

    def run(self, *arguments: str) -> None:
        """Any command that has to be refused: raise its one line as a ValueError."""
        try:
            status = cli.main(arguments)
        except SystemExit as ended:  # argparse's way
            status = ended.code
        shown = self.capsys.readouterr()
        assert status == 2, (status, arguments)
        assert shown.out == ""
        assert shown.err.startswith("npkd")
        assert shown.err.endswith("\n")
        assert {file.name: file.read_bytes() for file in self.folder.iterdir()} == {
            "report.json": b"{}",
            "small.npz": b"weights",
        }
        raise ValueError(shown.err.removesuffix("\n"))


@pytest.fixture
def command(tmp_path, capsys, monkeypatch) -> Command:
    monkeypatch.setattr(threads, "_num_threads", None)  # and set back what --threads has set
    return Command(tmp_path / "finished", capsys)


SOURCES = {
    "CIFAR-10, binary": binary,
    "CIFAR-10, python": python,
    "CIFAR-100, binary": lambda canary: binary(canary, HUNDRED),
    "CIFAR-100, python": lambda canary: python(canary, HUNDRED),
    "idx": idx,
    "idx, packed": lambda canary: idx(canary, ".gz"),
    ".npz": npz,
    ".npy": npy,
    "image folder": folder,
}


@pytest.mark.parametrize("name", SOURCES)
def test_a_malformed_data_set_is_refused_or_sound(name, attempt, inputs, command, tmp_path):
    source = SOURCES[name]
    rng = np.random.default_rng(0)
    canary = str(tmp_path / "it-ran")
    files, further = source(canary)
    damage = {
        kind: lambda rng, alter=alter: {
            name: alter(files[name], rng) for name in [list(files)[rng.integers(len(files))]]
        }
        for kind, alter in malformed.DAMAGE.items()
    } | further
    home = tmp_path / "data"
    path = home / "a.npz" if source is npz else home

    def write(files: Files) -> None:
        for name, data in files.items():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).write_bytes(data)

    def restore(changed: Files) -> None:
        for name in changed.keys() - files.keys():
            (home / name).unlink()
        write({name: files[name] for name in changed.keys() & files.keys()})

    write(files)
    sound(load(path))
    for _ in inputs(0.05 / len(damage)):
        for kind, alter in damage.items():
            changed = alter(rng)
            write(changed)
            dataset = attempt(name, kind, lambda: load(path))
            if dataset is not None:
                sound(dataset)
            attempt("the command", f"data: {kind}", lambda: command.distill("--data", str(path)))
            restore(changed)
            assert not Path(canary).exists(), kind


def test_odd_names_of_files_and_folders_are_refused_or_sound(attempt, command, tmp_path):
    """As the name of nothing, of an .npz file, of a folder of .npy files, and of classes."""
    data = malformed.npz(ARRAYS)
    for number, name in enumerate(malformed.NAMES):
        home = tmp_path / str(number)
        path = home / name
        sources = [path, home, Path(name), str(path) + "/", str(path) + "\0"]
        try:
            home.mkdir()
            if name not in (".", "..."):
                path.write_bytes(data)
            (home / "images").mkdir()
            (home / "images" / name).mkdir(exist_ok=True)
        except OSError:
            pass  # the system does not have such names
        for source in [*sources, home / "images"]:
            dataset = attempt("odd names", "read", lambda source=source: load(source))
            if dataset is not None:
                sound(dataset)
            attempt("the command", "odd names", lambda s=source: command.distill("--data", str(s)))


# The command line


def test_any_value_on_the_command_line_is_refused_in_one_line(attempt, inputs, command, tmp_path):
    rng = np.random.default_rng(0)
    data = tiny.file(tmp_path)
    options = [
        *("--task", "--preset", "--teacher-input", "--teacher-views", "--label-weight"),
        *("--large-epochs", "--epochs", "--batch-size", "--learning-rate", "--seed", "--threads"),
        *("--large-learning-rate", "--labels-learning-rate", "--checkpoint-every", "--augment"),
        *("--loss", "--loss-option", "--loss kl --loss-option"),
        *("--resume", "--no-augment", "--data", "--out", "--nothing", "-x", "", "distill"),
        "--teacher",
    ]
    of_gradcheck = ["--examples", "--seed", "--threads", "--nothing", "", "relu"]
    for _ in inputs(0.07):
        gradcheck = rng.integers(4) == 0
        arguments = ["gradcheck", "nonsense"] if gradcheck else ["distill", "--data", data]
        for _ in range(rng.integers(1, 4)):
            text = malformed.TEXTS[rng.integers(len(malformed.TEXTS))]
            offered = of_gradcheck if gradcheck else options
            option = offered[rng.integers(len(offered))]
            *before, option = option.split(" ")
            arguments += before + ([f"{option}={text}"] if rng.integers(2) else [option, text])
        arguments += [] if gradcheck else ["--out", str(command.folder)]
        attempt("the command", "values", lambda arguments=arguments: command.run(*arguments))


def test_any_setting_is_refused_by_name_or_taken(attempt, inputs):
    rng = np.random.default_rng(0)
    names = [field.name for field in fields(distill.Config)]
    for _ in inputs(0.07):
        name = names[rng.integers(len(names))]
        value = malformed.VALUES[rng.integers(len(malformed.VALUES))]

        attempt("settings", "wrong values", lambda n=name, v=value: tiny.config(**{n: v}))


# Weights and checkpoints


@pytest.mark.parametrize("ending", [".npz", ".safetensors", ".pt"])
def test_malformed_weights_are_refused_or_those_of_the_net(ending, attempt, inputs, tmp_path):
    rng = np.random.default_rng(0)
    canary, path = str(tmp_path / "it-ran"), tmp_path / f"weights{ending}"
    network = SmallCNN(0)

    def write(params: dict[str, np.ndarray]) -> bytes:
        if ending == ".pt":
            return malformed.state_dict(params)
        weights.save_weights(path, params)
        return path.read_bytes()

    def altered(kind: str) -> Callable[[np.random.Generator], bytes]:
        def alter(rng: np.random.Generator) -> bytes:
            name = list(network.params)[rng.integers(len(network.params))]
            wrong = malformed.ALTERED[kind](network.params[name], rng)
            if ending == ".npz":
                return malformed.npz(network.params | {name: wrong})
            try:
                return write(network.params | {name: wrong})
            except Exception:  # the format has not this dtype
                return malformed.odd_safetensors(rng)

        return alter

    whole = write(network.params)
    damage = {
        kind: lambda rng, alter=alter: alter(whole, rng) for kind, alter in malformed.DAMAGE.items()
    } | {kind: altered(kind) for kind in malformed.ALTERED}
    if ending == ".npz":
        damage |= {
            "huge sizes": lambda rng: malformed.huge_npz("fc1.weight", rng),
            "code in a pickle": lambda rng: malformed.npz(
                network.params | {"fc1.bias": np.array([malformed.harmful(canary, rng)])}
            ),
            "zip bombs": lambda rng: malformed.overlapping_bomb(),
        }
    elif ending == ".safetensors":
        damage |= {"huge sizes": malformed.odd_safetensors}
    else:
        damage |= {
            "huge sizes": lambda rng: malformed.odd_state_dict(network.params, rng),
            "code in a pickle": lambda rng: malformed.state_dict(
                network.params, malformed.other_pickle(canary, rng)
            ),
            "zip bombs": lambda rng: malformed.overlapping_bomb("a/data.pkl"),
        }
    for _ in inputs(0.04 / len(damage)):
        for kind, alter in damage.items():
            path.write_bytes(alter(rng))
            loaded = SmallCNN(1)
            before = {name: theta.copy() for name, theta in loaded.params.items()}
            done = attempt(
                f"weights {ending}",
                kind,
                lambda loaded=loaded: loaded.load(weights.load_weights(path)) or True,
            )
            for name, theta in loaded.params.items():
                assert np.isfinite(theta).all()
                if not done:
                    np.testing.assert_array_equal(theta, before[name])
            assert not Path(canary).exists(), kind


class OneLayer(Network):
    """Stands for both nets where only what surrounds them is tried."""

    def __init__(
        self, rng: np.random.Generator, *, in_channels: int, num_classes: int, image_size: int
    ):
        inputs = in_channels * image_size**2
        layers = {"flatten": Function(ops.flatten), "fc": Linear(inputs, num_classes)}
        super().__init__(layers, (in_channels, image_size, image_size), rng)


def test_a_malformed_checkpoint_is_damaged_or_can_be_gone_on_from(
    attempt, inputs, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(zoo.MODELS, "large", OneLayer)
    monkeypatch.setitem(zoo.MODELS, "small", OneLayer)
    rng = np.random.default_rng(0)
    canary, home = str(tmp_path / "it-ran"), tmp_path / "run"
    home.mkdir()
    dataset, config = tiny.dataset(), tiny.config()
    whole: list[tuple[dict, dict[str, np.ndarray]]] = []
    run = distill.Run(dataset, config)
    args = cli.argparse.Namespace(
        **{"checkpoint_every": None, "to_resume": "", "resume": True},
        **{"size": None, "background": None, "labels": "fine"},
    )
    checkpoints = resuming.Checkpoints(home, config, dataset, args)
    for event in run.steps():
        if isinstance(event, distill.Training) and event.update.step in (0, 2, 4):
            checkpoints.write(run)
            (path, *_) = checkpoint.found(home)
            whole.append(checkpoint.load(path))
    checkpoint.remove(home)
    path = home / "checkpoint-0000000001.npkd"

    def damaged(kind: str) -> Callable[[np.random.Generator], bytes]:
        def alter(rng: np.random.Generator) -> bytes:
            data = content(*whole[rng.integers(len(whole))])
            return malformed.DAMAGE[kind](signed(data), rng)

        return alter

    def signed_damage(rng: np.random.Generator) -> bytes:
        alter = list(malformed.DAMAGE.values())[rng.integers(4)]
        return signed(alter(content(*whole[rng.integers(len(whole))]), rng))

    def altered(kind: str) -> Callable[[np.random.Generator], bytes]:
        def alter(rng: np.random.Generator) -> bytes:
            about, arrays = whole[rng.integers(len(whole))]
            name = list(arrays)[rng.integers(len(arrays))]
            arrays = arrays | {name: malformed.ALTERED[kind](arrays[name], rng)}
            return signed(content(about, arrays))

        return alter

    def other_json(rng: np.random.Generator) -> bytes:
        about, arrays = whole[rng.integers(len(whole))]
        if rng.integers(8):
            return signed(
                content(about | {"state": malformed.junk_in(about["state"], rng)}, arrays)
            )
        texts = [b"", b"[" * 100_000, b"null", b"\xff", b"{" * 9, b"9" * 5000, b'{"state": {}}']
        return signed(content(texts[rng.integers(7)], arrays))

    damage = {
        **{kind: damaged(kind) for kind in malformed.DAMAGE},
        "damaged, then signed": signed_damage,
        **{kind: altered(kind) for kind in malformed.ALTERED},
        "other JSON": other_json,
        "huge sizes": lambda rng: signed(malformed.huge_npz("about", rng)),
        "code in a pickle": lambda rng: signed(malformed.other_pickle(canary, rng)),
        "zip bombs": lambda rng: signed(malformed.overlapping_bomb()),
    }
    for _ in inputs(0.06 / len(damage)):
        for kind, alter in damage.items():
            path.write_bytes(alter(rng))
            data = path.read_bytes()
            resumed = attempt("checkpoints", kind, lambda: checkpoints.run(resume=True))
            assert path.read_bytes() == data
            if resumed is not None:
                *_, last = resumed.steps()
                json.dumps(last.report, allow_nan=False)
                assert {net: len(history) for net, history in last.report["history"].items()} == {
                    "large": 1,
                    "small": 2,
                    "small_from_labels": 2,
                }
            assert not Path(canary).exists(), kind
    capsys.readouterr()


# Arrays


def any_array(rng: np.random.Generator) -> Any:
    """An array of any dtype and any small shape, sometimes of none."""
    shape = [int(n) for n in rng.integers(0, 5, rng.integers(0, 6))]
    kind = rng.integers(10)
    if kind == 0:
        return malformed.VALUES[rng.integers(len(malformed.VALUES))]
    if kind == 1:
        return np.zeros(shape, malformed.DTYPES[rng.integers(len(malformed.DTYPES))])
    array = rng.standard_normal(shape).astype([np.float32, np.float64][kind % 2])
    return malformed.not_finite(array, rng) if kind == 2 and array.size else array


def any_value(rng: np.random.Generator) -> Any:
    sensible = [1, 2, (1, 2), 0, "same"]
    both = [*sensible * 6, *malformed.VALUES]
    return both[rng.integers(len(both))]


def calls(rng: np.random.Generator) -> Iterator[tuple[str, Callable[[], Any]]]:
    """One call of everything that takes arrays."""
    a, b, c = (any_array(rng) for _ in range(3))
    m, n = any_value(rng), any_value(rng)
    yield "conv2d", lambda: ops.conv2d(a, b, None, stride=m, padding=n)
    yield "conv2d", lambda: ops.conv2d(a, b, c, dilation=m, groups=n)
    yield "avg_pool2d", lambda: ops.avg_pool2d(a, m, stride=n)
    yield "avg_pool2d", lambda: ops.avg_pool2d(a, 2, padding=m, divisor_override=n)
    yield "max_pool2d", lambda: ops.max_pool2d(a, m, stride=n)
    yield "max_pool2d", lambda: ops.max_pool2d(a, 2, padding=m, dilation=n)
    yield "linear", lambda: ops.linear(a, b, c)
    yield "relu", lambda: ops.relu(a)
    yield "flatten", lambda: ops.flatten(a)
    yield "softmax", lambda: ops.softmax(a, m)
    yield "log_softmax", lambda: ops.log_softmax(a, m)
    yield "upsample", lambda: ops.upsample(a, m, n)
    yield "losses", lambda: losses.l2(a, b, reduction=m)
    yield "losses", lambda: losses.l2(a, b)
    yield "losses", lambda: losses.cross_entropy(a, b)
    yield "losses", lambda: losses.mix(a, a, b, alpha=m)
    yield "networks", lambda: SMALL(a)
    yield "networks", lambda: SMALL.load({**SMALL.params, "fc2.bias": a})
    yield "SGD", lambda: SGD(m, n).step({"w": a}, {"w": b})
    yield "Adam", lambda: Adam(m, (n, n), m).step({"w": a}, {"w": b})
    yield "Adam", lambda: Adam().load({"m/w": a, "v/w": b}, m)
    yield "data", lambda: Augmentation(1)(a, np.random.default_rng(0))
    yield "data", lambda: Normalisation.of(a)
    yield "data", lambda: split(a, m)
    yield "data", lambda: batches(a, 2)
    yield "data", lambda: batches(5, n)


SMALL = SmallCNN(0)


def test_any_array_given_to_the_api_is_refused_or_taken(attempt, inputs):
    rng = np.random.default_rng(0)
    for _ in inputs(0.07 / 24):
        for name, call in calls(rng):
            with np.errstate(all="ignore"):
                attempt("arrays", name, call)
