"""npkd.data: what is read is what was stored, what is malformed is refused in one line, and
augmentation, normalisation and batches are what their definitions say.
"""

import gzip
import os
import pickle
import struct
import sys
import tracemalloc
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npkd.data import (
    Augmentation,
    Dataset,
    Normalisation,
    batches,
    load,
    low_resolution,
    split,
)
from npkd.data.images import StoredImages
from npkd.data.resizing import resized
from npkd.files import BadInput

SAMPLE = Path(__file__).parents[2] / "shared" / "data" / "cifar10"

seeds = st.integers(0, 2**32 - 1)


def random_images(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(0, 256, shape, dtype=np.uint8)


def refusal(source: Path | str, **options: Any) -> str:
    """The one line with which load refuses the source."""
    with pytest.raises(BadInput) as caught:
        load(source, **options)
    message = str(caught.value)
    assert str(source) in message
    assert "\n" not in message
    return message


# Splits


@given(st.lists(st.integers(0, 4), max_size=60), st.integers(2, 7))
def test_split_takes_every_nth_of_each_class_and_loses_none(labels, every):
    train, test = split(np.array(labels, int), every)
    seen = dict.fromkeys(range(5), 0)
    expected = []
    for index, label in enumerate(labels):
        seen[label] += 1
        if seen[label] % every == 0:
            expected.append(index)
    assert test.tolist() == expected
    assert train.tolist() == [index for index in range(len(labels)) if index not in expected]


def test_split_into_nothing_to_train_on_is_refused():
    with pytest.raises(ValueError, match="every is 1; expected a whole number from 2"):
        split(np.arange(3), every=1)


def test_hold_out_tests_on_training_images_only():
    data = load("mnist5k")
    tuning = data.hold_out(every=4)
    kept, held_out = split(data.train_labels, 4)
    np.testing.assert_array_equal(tuning.train_images, data.train_images[kept])
    np.testing.assert_array_equal(tuning.train_labels, data.train_labels[kept])
    np.testing.assert_array_equal(tuning.test_images, data.train_images[held_out])
    np.testing.assert_array_equal(tuning.test_labels, data.train_labels[held_out])
    assert tuning.augmentation == data.augmentation
    assert tuning.num_classes == 10


# The bundled digits


def test_the_bundled_digits_are_4000_for_training_and_1000_for_testing():
    data = load("mnist5k")
    assert data.name == "mnist5k"
    assert data.class_names == tuple("0123456789")
    assert data.num_classes == 10
    assert data.augmentation == Augmentation(shift=2, flip=False)
    for images, labels, count in (
        (data.train_images, data.train_labels, 400),
        (data.test_images, data.test_labels, 100),
    ):
        assert images.shape == (10 * count, 3, 32, 32)
        assert images.dtype == np.uint8
        assert labels.dtype == np.int64
        assert np.bincount(labels).tolist() == [count] * 10


def test_the_bundled_digits_are_padded_with_black_and_have_three_equal_channels():
    stored = np.load(Path(sys.modules["npkd.data"].__file__).with_name("mnist5k.npz"))
    images = load("mnist5k").test_images
    inside = images[:, :, 2:30, 2:30]
    for channel in range(3):
        np.testing.assert_array_equal(inside[:, channel], stored["images"][4::5])
    assert images.sum(dtype=np.int64) == inside.sum(dtype=np.int64)


# CIFAR-10


def write_binary(path: Path, images: np.ndarray, labels: list[int]) -> None:
    """The official binary layout, written a record at a time."""
    with open(path, "wb") as file:
        for image, label in zip(images, labels, strict=True):
            file.write(bytes([label]) + image.tobytes())


def write_pickle(path: Path, images: np.ndarray, labels: object, protocol: int = 4) -> None:
    content = {
        b"batch_label": b"training batch 1 of 5",
        b"labels": labels,
        b"data": images.reshape(-1, 3072),
        b"filenames": [b"a.png"] * len(images),
    }
    path.write_bytes(pickle.dumps(content, protocol))


def python2_pickle(images: np.ndarray, labels: list[int]) -> bytes:
    """Byte for byte what Python 2's cPickle wrote at protocol 2, as the official files have it."""

    def string(text: bytes) -> bytes:
        return b"T" + struct.pack("<I", len(text)) + text

    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
        + b"K\x00\x85"
        + string(b"b")
        + b"\x87R"
        + b"(K\x01"
        + b"M"
        + struct.pack("<H", len(images))
        + b"M\x00\x0c\x86"
        + b"cnumpy\ndtype\n"
        + string(b"u1")
        + b"K\x00K\x01\x87R"
        + b"(K\x03"
        + string(b"|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        + b"\x89"
        + string(images.tobytes())
        + b"tb"
    )
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\x02}(" + string(b"data") + array + string(b"labels") + numbers + b"u."


@pytest.fixture
def cifar():
    """Two training files and a test file's worth of images, with every label among them."""
    rng = np.random.default_rng(0)
    return [
        (random_images(rng, count, 3, 32, 32), [(3 * index) % 10 for index in range(count)])
        for count in (12, 11, 10)
    ]


NAMES = ("data_batch_2", "data_batch_5", "test_batch")


def assert_is(data: Dataset, parts: list) -> None:
    """The data set holds exactly these parts, the last one for testing."""
    *training, (test_images, test_labels) = parts
    np.testing.assert_array_equal(data.train_images, np.concatenate([part[0] for part in training]))
    np.testing.assert_array_equal(data.train_labels, np.concatenate([part[1] for part in training]))
    np.testing.assert_array_equal(data.test_images, test_images)
    np.testing.assert_array_equal(data.test_labels, test_labels)
    assert data.train_images.dtype == data.test_images.dtype == np.uint8
    assert data.train_labels.dtype == data.test_labels.dtype == np.int64
    assert data.class_names[0] == "airplane"
    assert data.num_classes == 10
    assert data.augmentation == Augmentation(shift=4, flip=True)
    assert data.photographs


@pytest.fixture
def binary(tmp_path, cifar):
    for name, (images, labels) in zip(NAMES, cifar, strict=True):
        write_binary(tmp_path / f"{name}.bin", images, labels)
    return tmp_path


@pytest.fixture
def pickled(tmp_path, cifar):
    for name, (images, labels) in zip(NAMES, cifar, strict=True):
        write_pickle(tmp_path / name, images, labels)
    return tmp_path


def test_the_binary_layout_comes_back_bit_for_bit(binary, cifar):
    assert_is(load(binary), cifar)
    assert load(str(binary)).name == binary.name


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_the_python_layout_comes_back_bit_for_bit(tmp_path, cifar, protocol):
    for name, (images, labels) in zip(NAMES, cifar, strict=True):
        write_pickle(tmp_path / name, images, labels, protocol)
    assert_is(load(tmp_path), cifar)


@pytest.mark.filterwarnings("ignore")  # NumPy's own unpickling, our judge, frowns on old pickles
def test_the_python_layout_as_python_2_wrote_it_comes_back_bit_for_bit(tmp_path, cifar):
    for name, (images, labels) in zip(NAMES, cifar, strict=True):
        (tmp_path / name).write_bytes(python2_pickle(images, labels))
    content = pickle.loads((tmp_path / "test_batch").read_bytes(), encoding="bytes")
    np.testing.assert_array_equal(content[b"data"], cifar[2][0].reshape(10, -1))  # a fair test
    assert_is(load(tmp_path), cifar)


@pytest.mark.parametrize("dtype", ["u1", "<i8", ">i4"])
def test_the_python_layout_may_have_text_keys_an_array_of_labels_and_any_order(
    tmp_path, cifar, dtype
):
    for name, (images, labels) in zip(NAMES, cifar, strict=True):
        data = np.asfortranarray(images.reshape(len(images), -1))
        content = {"data": data, "labels": np.array(labels, dtype)}
        (tmp_path / name).write_bytes(pickle.dumps(content))
    assert_is(load(tmp_path), cifar)


def test_class_names_are_those_of_the_folder_if_it_names_them(binary):
    (binary / "batches.meta.txt").write_text("\n".join("abcdefghij") + "\n\n")
    assert load(binary).class_names == tuple("abcdefghij")
    (binary / "batches.meta.txt").write_bytes(
        b"caf\xe9\ncaf\xe8\n" + b"\n".join(b"%d" % i for i in range(8))
    )
    assert len(set(load(binary).class_names)) == 10
    (binary / "batches.meta.txt").write_text("cat\n" * 10)
    assert "names several classes cat" in refusal_within(binary)
    (binary / "batches.meta.txt").write_text("a\n")
    assert "names 1 classes; expected two or more" in refusal_within(binary)
    (binary / "batches.meta.txt").write_text("\n".join("abcdefghia"))
    assert "names several classes a; expected a name of its own" in refusal_within(binary)


def refusal_within(folder: Path) -> str:
    """The refusal of a folder, which may name a file inside it."""
    message = refusal(folder)
    assert message.startswith(str(folder))
    return message


def test_that_training_batches_are_missing_is_said(binary, cifar):
    assert load(binary).notes == ("2 of 5 training batches are there",)
    for number in (1, 3, 4):
        write_binary(binary / f"data_batch_{number}.bin", *cifar[0])
    assert load(binary).notes == ()


def test_a_binary_file_cut_inside_a_record_is_refused_with_what_is_left_over(binary):
    path = binary / "data_batch_5.bin"
    path.write_bytes(path.read_bytes()[:-73])
    message = refusal_within(binary)
    assert "data_batch_5.bin" in message
    assert "after 10 whole records, 3000 bytes of 3073 are left over" in message


@pytest.mark.parametrize("name", ["data_batch_2.bin", "test_batch.bin"])
def test_an_empty_binary_file_is_refused(binary, name):
    (binary / name).write_bytes(b"")
    assert f"{name}: empty" in refusal_within(binary)


def test_a_label_out_of_range_is_refused_with_its_record(binary, cifar):
    images, labels = cifar[1]
    write_binary(binary / "data_batch_5.bin", images, [*labels[:7], 10, *labels[8:]])
    assert "record 7, counted from 0, has the label 10; expected 0 to 9" in refusal_within(binary)


def test_a_missing_part_is_refused(binary):
    (binary / "test_batch.bin").rename(binary / "elsewhere")
    assert "no test file test_batch.bin" in refusal_within(binary)
    for name in NAMES[:2]:
        (binary / f"{name}.bin").unlink()
    (binary / "elsewhere").rename(binary / "test_batch.bin")
    assert "no training file data_batch_1.bin" in refusal_within(binary)


def test_training_images_of_one_class_are_refused(binary, cifar):
    for name, (images, labels) in zip(NAMES[:2], cifar[:2], strict=True):
        write_binary(binary / f"{name}.bin", images, [4] * len(labels))
    assert "all of one class" in refusal_within(binary)


PIXELS = np.zeros((3, 3072), np.uint8)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([PIXELS], "holds a list; expected a dictionary"),
        ({"labels": [0, 1, 2]}, "lacks data"),
        ({"data": PIXELS}, "or labels"),
        ({"data": PIXELS, "labels": [0, 1, "2"]}, "or labels"),
        ({"data": PIXELS[:, :9].tolist(), "labels": [0, 1, 2]}, "lacks data"),
        ({"data": PIXELS[:, 1:], "labels": [0, 1, 2]}, r"(3, 3071) of uint8"),
        ({"data": PIXELS.astype(int), "labels": [0, 1, 2]}, r"(3, 3072) of int64"),
        ({"data": PIXELS, "labels": []}, "one for each of 3 images"),
        ({"data": PIXELS, "labels": [0, 1]}, "one for each of 3 images"),
        ({"data": PIXELS, "labels": [0, 2**70, 2]}, "expected whole numbers"),
        ({"data": PIXELS, "labels": [0, -1, 2]}, "record 1, counted from 0, has the label -1"),
        ({"data": PIXELS.astype(float), "labels": [0, 1, 2]}, "an array of float64"),
        ({"data": np.array([None, 1]), "labels": [0, 1, 2]}, "shape (2,) of object"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_with_anything_but_pixels_and_labels_is_refused(
    pickled, content, expected, protocol
):
    (pickled / "data_batch_5").write_bytes(pickle.dumps(content, protocol))
    message = refusal_within(pickled)
    assert "data_batch_5" in message
    assert expected in message


def test_a_pickle_of_no_images_is_refused(pickled):
    write_pickle(pickled / "test_batch", PIXELS[:0], [])
    assert "test_batch: empty" in refusal_within(pickled)


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_that_would_run_code_is_refused_and_nothing_runs(pickled, protocol):
    trace = pickled / "it-ran"
    for function, arguments in (
        (os.system, (f"touch {trace}",)),
        (open, (str(trace), "w")),
        (eval, (f"open({str(trace)!r}, 'w')",)),
        (np.save, (str(trace), 0)),
    ):
        harmful = pickle.dumps({"data": PIXELS, "labels": Calls(function, *arguments)}, protocol)
        (pickled / "data_batch_5").write_bytes(harmful)
        message = refusal_within(pickled)
        assert f".{function.__name__}, which no array needs" in message
        assert not list(pickled.glob("it-ran*"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"c_codecs\nencode\n(S'a'\nS'bz2'\ntR", "asks for the encoding"),
        (b"cnumpy\ndtype\n(S'V8'\ntR", "lacks data"),
        (b"cnumpy\ndtype\n(S'(999999999,)u1'\ntR", "an array of (999999999,)u1"),
        (b"cnumpy\nndarray\n(S'pixels'\ntR", "data has shape (0,) of uint8"),
        (b"cnumpy\nndarray\n", "lacks data"),
        (b"cnumpy\ndtype\n)\x81", "the operation NEWOBJ, which no array needs"),
        (b"c_codecs\nencode\nN}S'__defaults__'\n(S'latin1'\nts\x86b", "it alters a function"),
        (b"})\x85Ns", "a dictionary whose keys are no text"),
        (b")" + b"2\x86" * 60, "the operation DUP"),
        (b"(\x8f\x8f\x90", "the operation EMPTY_SET"),
        (b"]" * 1001, "many more operations than images"),
        (b"c_codecs\nencode\n(Vaaaaaaaa\np1\nS'latin1'\ntR" + b"0", "the operation POP"),
        (
            b"(V" + b"a" * 500 + b"\np1\nl" + b"c_codecs\nencode\n(g1\nS'latin1'\ntRa" * 9,
            "more bytes than it has",
        ),
    ],
)
def test_what_a_pickle_may_call_makes_nothing_but_arrays_of_whole_numbers(pickled, value, expected):
    crafted = b"}(S'labels'\n(I0\nI1\nlS'data'\n" + value + b"u."
    (pickled / "data_batch_5").write_bytes(crafted)
    assert expected in refusal_within(pickled)


@given(st.data())
def test_a_damaged_pickle_is_refused_or_still_holds_images(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("pickles")
    images, labels = np.zeros((2, 3, 32, 32), np.uint8), [0, 1]
    write_pickle(folder / "data_batch_1", images, labels)
    write_pickle(folder / "test_batch", images, labels)
    whole = (folder / "test_batch").read_bytes()
    # The pixels are nearly all of the file; what comes before and after them is its structure.
    start, end = whole.index(bytes(6144)), whole.index(bytes(6144)) + 6144
    position = data.draw(st.sampled_from([*range(start), *range(end, len(whole))]))
    value = data.draw(st.integers(0, 255))
    cut = data.draw(st.booleans())
    rest = b"" if cut else bytes([value]) + whole[position + 1 :]
    (folder / "test_batch").write_bytes(whole[:position] + rest)
    try:
        loaded = load(folder)
    except BadInput:
        return
    assert loaded.test_images.shape == (len(loaded.test_labels), 3, 32, 32)


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="the CIFAR-10 sample is not here")
def test_the_cifar10_sample_is_balanced_and_matches_its_bytes():
    data = load(SAMPLE)
    assert np.bincount(data.train_labels).tolist() == [1000] * 10
    assert np.bincount(data.test_labels).tolist() == [200] * 10
    with open(SAMPLE / "data_batch_1.bin", "rb") as file:
        file.seek(1234 * 3073)
        record = file.read(3073)
    assert data.train_labels[1234] == record[0]
    green_at_row_5_column_7 = record[1 + 1024 + 5 * 32 + 7]
    assert data.train_images[1234][1, 5, 7] == green_at_row_5_column_7
    assert data.class_names[-1] == "truck"


# CIFAR pickles that others have made


PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("dtype", ["u1", "i8", ">i2"])
def test_labels_may_be_a_list_of_numpy_numbers_or_an_array_of_any_integers(
    tmp_path, cifar, protocol, dtype
):
    for name, (images, labels) in zip(NAMES, cifar, strict=True):
        array = np.array(labels, dtype)
        given = {"data_batch_2": list(array), "data_batch_5": array, "test_batch": array[:, None]}
        write_pickle(tmp_path / name, images, given[name], protocol)
    assert_is(load(tmp_path), cifar)


def test_a_large_batch_may_have_numpy_numbers(tmp_path):
    """Each takes a dozen operations, of which there must not be too many for each image."""
    images, labels = np.zeros((1000, 3, 32, 32), np.uint8), np.arange(1000) % 10
    for name in ("data_batch_1", "test_batch"):
        write_pickle(tmp_path / name, images, list(labels), 2)
    np.testing.assert_array_equal(load(tmp_path).train_labels, labels)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (0, 2, 3, 1)])
def test_pixels_may_be_images_with_their_channels_first_or_last(tmp_path, cifar, axes, order):
    for name, (images, labels) in zip(NAMES, cifar, strict=True):
        data = np.asarray(images.transpose(axes), order=order)
        (tmp_path / name).write_bytes(pickle.dumps({"data": data, "labels": labels}))
    assert_is(load(tmp_path), cifar)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("axes", [(0, 2, 3, 1), (3, 1, 0, 2)])
def test_pixels_may_lie_in_any_order_and_labels_be_a_tuple(tmp_path, cifar, protocol, axes):
    """Axes moved without a copy; NumPy 2 tells of them at protocol 5."""
    for name, (images, labels) in zip(NAMES, cifar, strict=True):
        stored = np.ascontiguousarray(images.transpose(axes)).transpose(np.argsort(axes))
        batch = {"data": stored.transpose(0, 2, 3, 1), "labels": tuple(labels)}
        (tmp_path / name).write_bytes(pickle.dumps(batch, protocol))
    assert_is(load(tmp_path), cifar)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_else_a_batch_holds_is_left_alone(tmp_path, cifar, protocol):
    for name, (images, labels) in zip(NAMES, cifar, strict=True):
        batch = {"data": images.reshape(-1, 3072), "labels": labels, "mean": 0.5, "more": [None]}
        batch |= {"names": np.array(["a", "é"]), "objects": np.array(["a", None, 1.5], object)}
        batch |= {"is_odd": np.array(labels) % 2 == 1, "name": np.str_("a"), "deviation": np.e}
        (tmp_path / name).write_bytes(pickle.dumps(batch, protocol))
    assert_is(load(tmp_path), cifar)


def test_classes_may_be_named_by_a_pickle(pickled):
    def name(key: str, names: object) -> None:
        (pickled / "batches.meta").write_bytes(pickle.dumps({key: names}, 2))

    name("label_names", [*"abcdefghi", b"j"])
    assert load(pickled).class_names == tuple("abcdefghij")
    name("label_names", [1, 2])
    assert "batches.meta: lacks label_names, a list of text" in refusal_within(pickled)
    name("label_names", ["a"])
    assert "batches.meta: names 1 classes" in refusal_within(pickled)


def test_what_a_whole_file_should_not_hold_is_named_and_only_damage_is_fetched_again(pickled):
    path = pickled / "data_batch_5"
    for content, named in (
        ({"data": PIXELS.astype("f4"), "labels": [0, 1, 2]}, "data is an array of float32"),
        ({"data": PIXELS, "labels": np.zeros(3)}, "labels have shape (3,) of float64"),
        ({"data": PIXELS, "labels": [0.5, 1, 2]}, "or labels, a list of N whole numbers"),
        ({"data": np.array(["a"]), "labels": [0]}, "data has shape (1,) of <U1"),
    ):
        path.write_bytes(pickle.dumps(content))
        message = refusal_within(pickled)
        assert named in message
        assert "fetch" not in message
    path.write_bytes(pickle.dumps({"data": PIXELS, "labels": [0, 1, 2]})[:-400])
    assert "fetch the file again" in refusal_within(pickled)


# CIFAR-100


def write_cifar100(folder: Path, layout: str, rng: np.random.Generator, protocol: int = 2) -> None:
    """Either official layout, with the names of some classes."""
    fine = [b"apple", b"bee", b"cup", b"\xc3\xa9t\xc3\xa9"]
    coarse = [b"fruit", b"insects"]
    for name, count in (("train", 9), ("test", 7)):
        pixels = random_images(rng, count, 3072)
        labels = rng.permutation(np.arange(count) % 4)
        if layout == "binary":
            records = [
                bytes([f // 2, f]) + row.tobytes() for f, row in zip(labels, pixels, strict=True)
            ]
            (folder / f"{name}.bin").write_bytes(b"".join(records))
        else:
            batch = {
                b"filenames": [b"a.png"] * count,
                b"batch_label": b"training batch 1 of 1",
                b"fine_labels": labels.tolist(),
                b"coarse_labels": (labels // 2).tolist(),
                b"data": pixels,
            }
            (folder / name).write_bytes(pickle.dumps(batch, protocol))
    if layout == "binary":
        (folder / "fine_label_names.txt").write_bytes(b"\n".join(fine) + b"\n")
        (folder / "coarse_label_names.txt").write_bytes(b"\n".join(coarse) + b"\n")
    else:
        names = {b"fine_label_names": fine, b"coarse_label_names": coarse}
        (folder / "meta").write_bytes(pickle.dumps(names, protocol))


def records_of(folder: Path, name: str) -> Iterator[tuple[int, int, np.ndarray]]:
    """Coarse and fine label and the pixels of each image, read without npkd."""
    if (folder / f"{name}.bin").exists():
        data = (folder / f"{name}.bin").read_bytes()
        for at in range(0, len(data), 3074):
            planes = [data[at + 2 + 1024 * c : at + 2 + 1024 * (c + 1)] for c in range(3)]
            rows = [[list(p[32 * i : 32 * i + 32]) for i in range(32)] for p in planes]
            yield data[at], data[at + 1], np.array(rows)
    else:
        batch = pickle.loads((folder / name).read_bytes(), encoding="bytes")
        for index, row in enumerate(batch[b"data"]):
            image = np.array(
                [
                    [[row[1024 * c + 32 * i + j] for j in range(32)] for i in range(32)]
                    for c in range(3)
                ]
            )
            yield batch[b"coarse_labels"][index], batch[b"fine_labels"][index], image


@pytest.mark.parametrize(("layout", "protocol"), [("binary", 2), ("python", 2), ("python", 5)])
@pytest.mark.parametrize("labels", ["fine", "coarse"])
def test_cifar_100_is_what_an_independent_reader_reads(tmp_path, layout, protocol, labels):
    write_cifar100(tmp_path, layout, np.random.default_rng(6), protocol)
    data = load(tmp_path, labels=labels)
    names = {"fine": ("apple", "bee", "cup", "été"), "coarse": ("fruit", "insects")}
    assert data.class_names == names[labels]
    assert data.augmentation == Augmentation(shift=4, flip=True)
    assert data.photographs
    assert isinstance(data.train_images, StoredImages)  # in their files, of either layout
    for name, images, found in (
        ("train", data.train_images, data.train_labels),
        ("test", data.test_images, data.test_labels),
    ):
        coarse, fine, pixels = zip(*records_of(tmp_path, name), strict=True)
        np.testing.assert_array_equal(images, np.stack(pixels))
        assert found.tolist() == list(fine if labels == "fine" else coarse)


def test_classes_of_cifar_100_that_nothing_names_are_called_by_their_numbers(tmp_path):
    write_cifar100(tmp_path, "python", np.random.default_rng(7))
    (tmp_path / "meta").unlink()
    assert load(tmp_path).class_names == tuple(map(str, range(100)))
    assert load(tmp_path, labels="coarse").class_names == tuple(map(str, range(20)))


def test_damaged_cifar_100_is_refused(tmp_path):
    write_cifar100(tmp_path, "binary", np.random.default_rng(8))
    whole = (tmp_path / "train.bin").read_bytes()
    (tmp_path / "train.bin").write_bytes(whole[:-1])
    assert "train.bin: cut inside a record: after 8 whole records, 3073" in refusal_within(tmp_path)
    (tmp_path / "train.bin").write_bytes(b"\0\4" + whole[2:])
    assert "has the label 4; expected 0 to 3" in refusal_within(tmp_path)
    (tmp_path / "train.bin").unlink()
    assert "no training file train.bin of CIFAR-100" in refusal_within(tmp_path)
    (tmp_path / "test.bin").rename(tmp_path / "train.bin")
    assert "no test file test.bin of CIFAR-100" in refusal_within(tmp_path)


@pytest.mark.parametrize("make", ["binary", "idx", "arrays", "digits"])
def test_only_cifar_100_has_coarse_labels_and_only_image_files_a_background(
    request, make, tmp_path
):
    source: Path | str = "mnist5k"
    if make == "binary":
        source = request.getfixturevalue("binary")
    elif make == "idx":
        source = write_idx(tmp_path)
    elif make == "arrays":
        source = tmp_path / "a.npz"
        np.savez(source, images=IMAGES, labels=LABELS)
    assert "only CIFAR-100 has" in refusal(source, labels="coarse")
    pytest.importorskip("PIL")
    assert "background is for folders of images" in refusal(source, background="white")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"labels": "rough"}, 'labels is \'rough\'; expected "fine" or "coarse"'),
        ({"size": 30}, "size is 30; expected a multiple of 4 from 8 to 512"),
        ({"size": 4}, "size is 4"),
        ({"size": 1024}, "size is 1024"),
        ({"size": 32.0}, "size is 32.0"),
        ({"size": True}, "size is True"),
        ({"background": "#ffff"}, "background is '#ffff'; expected the name of a colour"),
        ({"background": "no colour"}, "or #rrggbb"),
        ({"background": 0}, "background is 0"),
    ],
)
def test_an_option_that_is_none_is_refused(options, expected):
    if "background" in options:
        pytest.importorskip("PIL")
    with pytest.raises(ValueError, match=r"^[^\n]*$") as caught:
        load("mnist5k", **options)
    assert expected in str(caught.value)


@pytest.mark.parametrize("source", [None, 3, b"a.npz", ["a.npz"]])
def test_a_source_that_is_no_path_is_refused(source):
    with pytest.raises(ValueError, match=r"^source is .*; expected a path or"):
        load(source)


def test_a_size_may_be_a_number_of_numpy_and_is_stored_as_one_of_python():
    shape = load("mnist5k", size=np.int64(16)).image_shape
    assert (shape, {type(side) for side in shape}) == ((3, 16, 16), {int})


# idx files


def idx(array: np.ndarray, code: int = 8) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape) + array.tobytes()


def write_idx(
    folder: Path,
    name: str = "{part}-{what}-idx{axes}-ubyte",
    test: str = "t10k",
    packed: bool = False,
    first: int = 0,
    **arrays: np.ndarray,
) -> Path:
    rng = np.random.default_rng(9)
    for part, count in (("train", 12), (test, 8)):
        for what, array in (
            ("images", random_images(rng, count, 28, 28)),
            ("labels", np.arange(count, dtype=np.uint8) % 4 + first),
        ):
            array = arrays.get(f"{part}_{what}", array)
            axes = 3 if what == "images" else 1
            path = folder / (name.format(part=part, what=what, axes=axes) + ".gz" * packed)
            path.write_bytes(gzip.compress(idx(array)) if packed else idx(array))
    return folder


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("name", "test"),
    [
        ("{part}-{what}-idx{axes}-ubyte", "t10k"),
        ("{part}-{what}.idx{axes}-ubyte", "t10k"),
        ("emnist-letters-{part}-{what}-idx{axes}-ubyte", "test"),
    ],
)
def test_idx_files_come_back_bit_for_bit(tmp_path, name, test, packed):
    is_emnist = name.startswith("emnist")
    data = load(write_idx(tmp_path, name, test, packed, first=int(is_emnist)))
    rng = np.random.default_rng(9)
    for images, labels, count in (
        (data.train_images, data.train_labels, 12),
        (data.test_images, data.test_labels, 8),
    ):
        framed = np.pad(random_images(rng, count, 28, 28), ((0, 0), (2, 2), (2, 2)))
        for channel in range(3):
            np.testing.assert_array_equal(np.asarray(images)[:, channel], framed)
        assert labels.tolist() == [index % 4 for index in range(count)]
        assert isinstance(images, StoredImages) == (not packed)
    assert data.class_names == tuple("1234" if is_emnist else "0123")
    assert data.border == 2
    assert ("rows and columns exchanged" in " ".join(data.notes)) == is_emnist


def test_whether_an_idx_file_is_packed_is_told_by_its_content(tmp_path):
    write_idx(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte"
    before = np.asarray(load(tmp_path).train_images)
    path.write_bytes(gzip.compress(path.read_bytes()))
    np.testing.assert_array_equal(load(tmp_path).train_images, before)
    labels = tmp_path / "train-labels-idx1-ubyte"
    labels.rename(f"{labels}.gz")
    np.testing.assert_array_equal(load(tmp_path).train_images, before)


def test_idx_files_of_two_sizes_are_refused(tmp_path):
    write_idx(tmp_path, t10k_images=np.zeros((8, 32, 32), np.uint8))
    assert "expected one size for all, or --size N" in refusal(tmp_path)
    assert load(tmp_path, size=16).border == 0


def test_idx_files_without_a_test_part_are_split(tmp_path):
    write_idx(tmp_path, train_labels=np.arange(12, dtype=np.uint8) % 2)
    for path in tmp_path.glob("t10k*"):
        path.unlink()
    assert load(tmp_path).test_labels.tolist() == [0, 1]


def test_hidden_files_beside_data_are_passed_over(tmp_path, binary):
    """As macOS puts them beside all files, on discs and in archives of others."""
    home, arrays = tmp_path / "idx", tmp_path / "arrays"
    home.mkdir()
    arrays.mkdir()
    np.save(arrays / "images.npy", IMAGES)
    np.save(arrays / "labels.npy", LABELS)
    for folder in (write_idx(home), binary, arrays):
        before = load(folder).digest()
        for path in list(folder.iterdir()):
            path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
        assert load(folder).digest() == before


def test_several_sets_of_idx_files_in_a_folder_are_refused_by_name(tmp_path):
    for name in ("emnist-letters", "emnist-digits"):
        write_idx(tmp_path, f"{name}-{{part}}-{{what}}-idx{{axes}}-ubyte", "test")
    assert "several sets of idx files: emnist-digits, emnist-letters" in refusal(tmp_path)


gzipped = partial(gzip.compress, mtime=0)  # the same bytes, and so the same test, each time
BOMB = gzipped(idx(np.zeros((5000, 784), np.uint8)), compresslevel=1)[:3000]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "begins with nothing, as no idx file does"),
        (b"<html>", "begins with 3c 68 74 6d"),
        (b"\0\0\x08\x03\0\0\0\1", "not an idx file"),
        (idx(np.zeros((12, 28, 28), "f4"), 0x0D), "holds floats; expected unsigned bytes"),
        (idx(np.zeros((12, 28, 28), np.uint8))[:-1], "9,423 bytes; expected 9,424"),
        (idx(np.zeros((12, 28, 28), np.uint8)) + b"\0", "9,425 bytes; expected 9,424"),
        (idx(np.zeros((12, 27, 28), np.uint8)), "28×27 pixels; expected squares"),
        (idx(np.zeros(12, np.uint8)), "images have shape (12,) of uint8"),
        (idx(np.zeros((11, 28, 28), np.uint8)), "one for each of 11 images"),
        (gzipped(idx(np.zeros((12, 28, 28), np.uint8)))[:-9], "damaged: Compressed file ended"),
        (gzipped(idx(np.zeros((12, 28, 28), np.uint8)))[:-8] + bytes(8), "damaged: CRC check"),
        (gzipped(idx(np.zeros((12, 28, 28), np.uint8))) + b"more", "damaged: Not a gzipped file"),
        (gzipped(b"x" * 99)[:10] + b"\7" * 40, "damaged: Error -3 while decompressing"),
        (gzipped(idx(np.zeros((12, 28, 28), np.uint8))[:-1]), "unpacks to less than"),
        (gzipped(idx(np.zeros((12, 28, 28), np.uint8)) + bytes(9)), "unpacks to more than"),
        (gzipped(struct.pack(">HBB3I", 0, 8, 3, 2**21, 28, 28)), "at most 1,073,741,824"),
        (gzipped(struct.pack(">HBB3I", 0, 8, 3, *[2**32 - 1] * 3)), "unpack it first"),
        (gzipped(b""), "begins with nothing"),
        (BOMB, "damaged: Compressed file ended"),
    ],
)
def test_a_damaged_idx_file_is_refused(tmp_path, content, expected):
    write_idx(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(content)
    assert expected in refusal_within(tmp_path)


def test_a_packed_idx_file_takes_no_more_memory_than_it_declares(tmp_path):
    write_idx(tmp_path)
    zeros = gzipped(idx(np.zeros((12, 28, 28), np.uint8)) + bytes(2**25))
    (tmp_path / "train-images-idx3-ubyte").write_bytes(zeros)
    del zeros
    tracemalloc.start()
    assert "unpacks to more" in refusal_within(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**23


@pytest.mark.parametrize("labels", [[0, 2], [1, 3], [3, 3]])
def test_idx_labels_with_gaps_or_that_are_not_trained_are_refused(tmp_path, labels):
    write_idx(tmp_path, train_labels=np.array(labels * 6, np.uint8))
    assert "labels of the t" in refusal(tmp_path)


def test_idx_files_without_labels_are_refused(tmp_path):
    write_idx(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    assert "no array named test_labels" in refusal(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    assert "no idx file of labels for training" in refusal(tmp_path)


# Arrays in a file


LAYOUTS = {
    "N, H, W": lambda grey, colour: (grey, np.stack([grey] * 3, axis=1)),
    "N, 1, H, W": lambda grey, colour: (grey[:, None], np.stack([grey] * 3, axis=1)),
    "N, 3, H, W": lambda grey, colour: (colour, colour),
    "N, H, W, 3": lambda grey, colour: (colour.transpose(0, 2, 3, 1), colour),
}


@pytest.fixture(params=[".npz", ".npy"])
def save_arrays(request, tmp_path):
    """Writes the arrays, in one file or a file for each; what to load them by."""

    def save(**arrays: np.ndarray) -> Path:
        if request.param == ".npz":
            np.savez(tmp_path / "a.npz", **arrays)
            return tmp_path / "a.npz"
        (tmp_path / "a").mkdir()
        for name, array in arrays.items():
            np.save(tmp_path / "a" / f"{name}.npy", array)
        return tmp_path / "a"

    return save


@pytest.mark.parametrize("size", [28, 32])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_every_layout_become_three_channels_of_32(save_arrays, layout, size, order):
    rng = np.random.default_rng(1)
    grey, colour = random_images(rng, 7, size, size), random_images(rng, 7, 3, size, size)
    stored, expected = LAYOUTS[layout](grey, colour)
    labels = np.array([0, 1, 2, 0, 1, 2, 0], np.uint8)
    stored = np.asarray(stored, order=order)
    data = load(
        save_arrays(images=stored, labels=labels, test_images=stored[:3], test_labels=labels[:3])
    )
    border = (32 - size) // 2
    framed = np.zeros((7, 3, 32, 32), np.uint8)
    framed[:, :, border : border + size, border : border + size] = expected
    np.testing.assert_array_equal(data.train_images, framed)
    np.testing.assert_array_equal(data.test_images, framed[:3])
    assert data.train_labels.dtype == data.test_labels.dtype == np.int64
    assert data.name == "a"
    assert data.class_names == ("0", "1", "2")
    assert data.augmentation == Augmentation(shift=2, flip=False)


def test_arrays_without_a_test_part_are_split(save_arrays):
    images = random_images(np.random.default_rng(2), 12, 32, 32)
    labels = np.arange(12) % 2
    data = load(save_arrays(images=images, labels=labels))
    np.testing.assert_array_equal(np.asarray(data.test_images)[:, 0], images[[8, 9]])
    assert data.test_labels.tolist() == [0, 1]
    assert len(data.train_labels) == 10


IMAGES, LABELS = np.zeros((10, 28, 28), np.uint8), np.arange(10) // 5


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"labels": LABELS}, "no array named images; it holds labels"),
        ({"images": IMAGES}, "no array named labels; it holds images"),
        ({"images": IMAGES, "labels": LABELS, "test_images": IMAGES}, "no array named test_labels"),
        ({"images": IMAGES / 255, "labels": LABELS}, "shape (10, 28, 28) of float64"),
        ({"images": IMAGES[:, :27], "labels": LABELS}, "shape (10, 27, 28) of uint8"),
        ({"images": IMAGES[0, 0], "labels": LABELS}, "shape (28,) of uint8"),
        ({"images": IMAGES, "labels": LABELS[:9]}, "one for each of 10 images"),
        ({"images": IMAGES, "labels": LABELS / 1}, "of float64; expected whole numbers"),
        ({"images": IMAGES, "labels": LABELS + 1}, "from 1 to 2 with 2 different ones"),
        ({"images": IMAGES, "labels": LABELS - 1}, "from -1 to 0 with 2 different ones"),
        ({"images": IMAGES, "labels": 2 * LABELS}, "from 0 to 2 with 2 different ones"),
        (
            {"images": IMAGES, "labels": 3 + 5 * LABELS},
            "or names, in an .npz file: labels.astype(str)",
        ),
        ({"images": IMAGES, "labels": 0 * LABELS}, "all of one class"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "holds no training images"),
        (
            {
                "images": IMAGES[:0],
                "labels": LABELS[:0],
                "test_images": IMAGES,
                "test_labels": LABELS,
            },
            "holds no training images",
        ),
        ({"images": IMAGES[::2], "labels": LABELS[::2]}, "leaves no test images"),
        (
            {"images": IMAGES, "labels": LABELS, "test_images": IMAGES, "test_labels": LABELS + 1},
            "test images run from 1 to 2; expected only labels that training images have",
        ),
        (
            {
                "images": IMAGES,
                "labels": LABELS,
                "test_images": IMAGES[:0],
                "test_labels": LABELS[:0],
            },
            "leaves no test images",
        ),
    ],
)
def test_arrays_that_make_no_data_set_are_refused(save_arrays, arrays, expected):
    assert expected in refusal(save_arrays(**arrays))


# Arrays of any size, channels and labels


AXES = {"N, C, H, W": (0, 1, 2, 3), "N, H, W, C": (0, 2, 3, 1)}


@pytest.mark.parametrize("layout", AXES)
@pytest.mark.parametrize(("channels", "size"), [(1, 8), (2, 36), (3, 64), (4, 12)])
def test_square_arrays_of_a_multiple_of_4_stay_as_they_are(save_arrays, layout, channels, size):
    images = random_images(np.random.default_rng(10), 10, channels, size, size)
    data = load(save_arrays(images=images.transpose(AXES[layout]), labels=LABELS))
    expected = images.repeat(3, axis=1) if channels == 1 else images
    assert data.image_shape == expected.shape[1:]
    np.testing.assert_array_equal(data.test_images, expected[[4, 9]])
    np.testing.assert_array_equal(data.train_images, np.delete(expected, [4, 9], 0))
    assert data.border == 0


@pytest.mark.parametrize("shape", [(30, 30), (28, 32), (100, 40), (4, 4), (516, 516), (3, 29, 29)])
def test_arrays_of_other_sizes_are_refused_with_the_way_out_and_then_read(save_arrays, shape):
    path = save_arrays(images=random_images(np.random.default_rng(0), 10, *shape), labels=LABELS)
    message = refusal_within(path)
    assert f"{shape[-1]}×{shape[-2]} pixels" in message
    assert "--size N" in message
    assert load(path, size=12).image_shape == (3, 12, 12)


def test_four_cells_in_front_and_behind_are_channels_in_front(save_arrays):
    """(N, 3, 9, 4) may be either; what is small is channels, and those come first."""
    images = random_images(np.random.default_rng(11), 10, 3, 9, 4)
    data = load(save_arrays(images=images, labels=LABELS), size=8)
    np.testing.assert_array_equal(data.test_images, resized(images[[4, 9]], 8))


def test_the_digits_in_another_size_are_resized_without_a_border():
    data = load("mnist5k", size=20)
    assert data.image_shape == (3, 20, 20)
    assert data.border == 0
    assert load("mnist5k").border == 2


@pytest.mark.parametrize(
    "given",
    [
        lambda labels: labels[:, None],
        lambda labels: np.eye(2, dtype=np.uint8)[labels],
        lambda labels: np.eye(2, dtype=bool)[labels],
        lambda labels: np.eye(2, dtype=">f8")[labels],
        lambda labels: np.array(["0", "1"])[labels],
        lambda labels: np.array([b"0", b"1"])[labels][:, None],
    ],
)
def test_labels_may_be_columns_rows_with_a_one_or_names(save_arrays, given):
    labels = given(LABELS)
    data = load(
        save_arrays(images=IMAGES, labels=labels, test_images=IMAGES[:7], test_labels=labels[:7])
    )
    assert data.train_labels.tolist() == LABELS.tolist()
    assert data.test_labels.tolist() == LABELS[:7].tolist()
    assert data.train_labels.dtype == data.test_labels.dtype == np.int64
    assert data.class_names == ("0", "1")


def test_arrays_may_be_called_as_keras_calls_them(save_arrays):
    images = random_images(np.random.default_rng(12), 20, 32, 32)
    names = {"x_train": images[:10], "y_train": LABELS[:, None]}
    data = load(save_arrays(**names, x_test=images[10:], y_test=LABELS))
    np.testing.assert_array_equal(np.asarray(data.train_images)[:, 0], images[:10])
    np.testing.assert_array_equal(np.asarray(data.test_images)[:, 0], images[10:])
    assert data.test_labels.tolist() == LABELS.tolist()
    assert data.notes == ()


def test_arrays_that_are_left_out_and_classes_without_test_images_are_said(tmp_path):
    more = {"x_train": IMAGES, "names": np.array(["a"])}
    labels = np.array([0, 0, 0, 0, 0, 1, 1, 1, 2, 2])
    np.savez(tmp_path / "a.npz", images=IMAGES, labels=labels, **more)
    assert load(tmp_path / "a.npz").notes == (
        "2 arrays left out: names, x_train",
        "2 of 3 classes have no test images: 1, 2",
    )


def test_names_of_classes_are_numbered_in_order(save_arrays):
    names = np.array(["zebra", "ant", "été"] * 5)
    data = load(save_arrays(images=np.zeros((15, 8, 8), np.uint8), labels=names))
    assert data.class_names == ("ant", "zebra", "été")
    assert [data.class_names[label] for label in data.test_labels] == ["zebra", "ant", "été"]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (np.ones((10, 2)), "rows of 2 float64 that are not zeros with a single one"),
        (np.arange(80).reshape(10, 8), "as one column of several may be: labels[:, 0]"),
        (np.zeros((10, 2), int), "not zeros with a single one"),
        (np.full((10, 3), np.nan), "not zeros with a single one"),
        (np.eye(10)[:, :, None], "shape (10, 10, 1) of float64"),
        (np.array(["a", None] * 5, object), "Python objects; expected numbers, or text: .astype"),
        (np.array(["a" * 300, "b"] * 5), "of <U300"),
        (np.array([2**32 - 1, 0] * 5, np.uint32).view("U1"), "what is no text"),
        (np.array([b"\xe9", b"\xe8"] * 5), "can't decode byte 0xe9"),
        (LABELS == 1, "of bool; expected whole numbers"),
    ],
)
def test_labels_of_other_kinds_are_refused(tmp_path, labels, expected):
    np.savez(tmp_path / "a.npz", images=IMAGES, labels=labels)
    assert expected in refusal(tmp_path / "a.npz")


def test_a_test_class_that_is_not_trained_is_refused_by_name(save_arrays):
    names = np.array(["a", "b"])[LABELS]
    wrong = np.array(["a", "c"])[LABELS]
    path = save_arrays(images=IMAGES, labels=names, test_images=IMAGES, test_labels=wrong)
    assert "which c is not" in refusal_within(path)


def test_names_of_classes_beside_numbers_are_refused(save_arrays):
    names = np.array(["0", "1"])[LABELS]
    path = save_arrays(images=IMAGES, labels=names, test_images=IMAGES, test_labels=LABELS)
    assert "not both numbers, or both names" in refusal_within(path)


@pytest.mark.parametrize("sides", [(28, 36), (28, 32), (32, 28)])
def test_parts_of_two_sizes_are_refused(save_arrays, sides):
    """Of 28×28, which get a border, and of 32×32, which do not, too."""
    images, other = (np.zeros((10, side, side), np.uint8) for side in sides)
    path = save_arrays(images=images, labels=LABELS, test_images=other, test_labels=LABELS)
    message = refusal(path)
    assert f"test images {other.shape}; expected one size for all, or --size N" in message
    assert load(path, size=16).image_shape == (3, 16, 16)


# A folder of images by class


@pytest.fixture
def save_image():
    image = pytest.importorskip("PIL.Image")

    def save(path: Path, pixels: np.ndarray) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        image.fromarray(pixels).save(path)

    return save


def test_a_folder_of_images_with_two_parts_comes_back_bit_for_bit(tmp_path, save_image):
    rng = np.random.default_rng(3)
    colour, grey = random_images(rng, 4, 32, 32, 3), random_images(rng, 2, 32, 32)
    save_image(tmp_path / "train" / "dog" / "2.PNG", colour[1])
    save_image(tmp_path / "train" / "dog" / "1.bmp", colour[0])
    save_image(tmp_path / "train" / "cat" / "1.ppm", colour[2])
    save_image(tmp_path / "train" / "cat" / "2.png", grey[0])
    save_image(tmp_path / "test" / "dog" / "1.png", colour[3])
    save_image(tmp_path / "test" / "cat" / "1.gif", grey[1])
    (tmp_path / "train" / "dog" / "notes.txt").write_text("passed over")
    (tmp_path / "train" / "dog" / "._1.png").write_text("passed over")
    (tmp_path / "train" / ".hidden").mkdir()

    data = load(tmp_path)
    assert data.class_names == ("cat", "dog")
    assert data.name == tmp_path.name
    assert data.augmentation == Augmentation(shift=2, flip=False)
    assert data.train_labels.tolist() == [0, 0, 1, 1]
    assert data.test_labels.tolist() == [0, 1]
    planes = colour.transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(data.train_images[[0, 2, 3]], planes[[2, 0, 1]])
    np.testing.assert_array_equal(data.test_images[1], planes[3])
    for channel in range(3):
        np.testing.assert_array_equal(data.train_images[1, channel], grey[0])
        np.testing.assert_array_equal(data.test_images[0, channel], grey[1])


def test_a_folder_of_images_without_parts_is_split(tmp_path, save_image):
    images = random_images(np.random.default_rng(4), 11, 32, 32)
    for index, image in enumerate(images):
        save_image(tmp_path / ("even", "odd")[index % 2] / f"{index:02}.png", image)
    data = load(tmp_path)
    np.testing.assert_array_equal(data.test_images[:, 0], images[[8, 9]])
    assert data.test_labels.tolist() == [0, 1]
    assert len(data.train_labels) == 9


def test_a_transparent_image_shows_black_where_it_is_clear(tmp_path, save_image):
    pixels = np.full((32, 32, 4), 255, np.uint8)
    pixels[:16, :, 3] = 0
    for name in ("a", "b"):
        for part in ("train", "test"):
            save_image(tmp_path / part / name / "1.png", pixels)
    image = load(tmp_path).train_images[0]
    assert (image[:, :16] == 0).all()
    assert (image[:, 16:] == 255).all()


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (np.zeros((32, 30), np.int32), "1.tiff: an image of 30×32 pixels in mode I"),
        (np.zeros((32, 32), np.float32), "1.tiff: an image of 32×32 pixels in mode F"),
        (
            np.full((32, 32), 255, np.uint16),
            "no value above 255 of 65535; if these are values of 8",
        ),
    ],
)
def test_an_image_of_another_depth_is_refused(tmp_path, save_image, pixels, expected):
    save_image(tmp_path / "a" / "1.tiff", pixels)
    assert expected in refusal_within(tmp_path)


def test_a_damaged_image_is_refused(tmp_path, save_image):
    path = tmp_path / "a" / "1.png"
    save_image(path, random_images(np.random.default_rng(5), 32, 32))
    path.write_bytes(path.read_bytes()[:300])
    assert "1.png: not an image that Pillow can read" in refusal_within(tmp_path)
    path.write_bytes(b"")
    assert "1.png: not an image that Pillow can read" in refusal_within(tmp_path)


def test_an_image_that_would_run_a_program_is_refused(tmp_path, save_image, monkeypatch):
    program = tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/it-ran\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    for name in ("train/a/0.png", "train/b/0.png", "test/a/0.png"):
        save_image(tmp_path / "data" / name, np.zeros((32, 32), np.uint8))
    header = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\nshowpage\n%%EOF\n"
    (tmp_path / "data" / "train" / "a" / "0.png").write_bytes(header)
    assert "not an image" in refusal(tmp_path / "data")
    assert not (tmp_path / "it-ran").exists()


@pytest.mark.parametrize("name", ["data_batch_3.bin", "batches.meta.txt", "test_batch.bin"])
def test_a_file_that_is_a_link_to_nothing_is_not_passed_over(binary, name):
    (binary / name).unlink(missing_ok=True)
    (binary / name).symlink_to(binary / "absent")
    with pytest.raises(BadInput, match=rf"{name}: No such file or directory"):
        load(binary)


def test_a_folder_that_lacks_a_part_or_a_class_is_refused(tmp_path, save_image):
    pixels = np.zeros((32, 32), np.uint8)
    save_image(tmp_path / "train" / "a" / "1.png", pixels)
    assert f"{tmp_path / 'test'}: missing" in refusal_within(tmp_path)
    save_image(tmp_path / "test" / "b" / "1.png", pixels)
    assert "class b has no folder in train/" in refusal_within(tmp_path)
    (tmp_path / "train" / "b").mkdir()
    assert "no images in it; expected those of class b" in refusal_within(tmp_path)


def test_images_without_pillow_are_refused_with_how_to_get_it(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert "needs Pillow; install it with pip install 'npkd[app]'" in refusal_within(tmp_path)


# Sources that are nothing of the kind


def test_a_folder_with_nothing_readable_says_what_it_could_hold(tmp_path):
    assert "holds no data; expected a folder for each class" in refusal(tmp_path)
    (tmp_path / "a").mkdir()
    assert "data_batch_1.bin … and test_batch.bin" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["absent", "absent.npz", "a.txt"])
def test_an_unknown_path_is_refused_and_the_bundled_digits_are_named(tmp_path, name):
    (tmp_path / "a.txt").write_text("")
    assert '"mnist5k", the bundled digits' in refusal(tmp_path / name)


def test_a_name_too_long_for_a_file_is_refused():
    assert "File name too long" in refusal("a" * 5000)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("net.pth", b"PK\3\4...", "a file of weights (.pth), and no data"),
        ("net.bin", b"PK\3\4" + bytes(26) + b"archive/data.pkl", "a file of weights (.bin)"),
        ("net.safetensors", b"1", "a file of weights"),
        ("a.tar", bytes(257) + b"ustar\0", "a tar archive; unpack it"),
        ("cifar-100-python.tar.gz", gzipped(b"x"), "an archive packed by gzip; unpack it"),
        ("a.zip", b"PK\3\4", "a zip archive; unpack it"),
        ("cat.jpg", b"\xff\xd8\xff\xe0", "a JPEG image; a data set is a folder"),
        ("cat.png", b"RIFF....WEBPVP8 ", "a WebP image; a data set is a folder"),
        ("cat.heic", b"\0\0\0\x18ftypheic", "a HEIC image"),
        ("cat.heif", b"\0\0\0\x18ftypheix", "a HEIC image"),
        ("cat.avif", b"\0\0\0\x18ftypavis", "an AVIF image"),
        ("a.mp4", b"\0\0\0\x18ftypisom", "a video; take images from it first"),
        ("train_32x32.mat", b"MATLAB 5.0", "a MATLAB file; store it as an .npz file"),
        ("a.h5", b"\x89HDF\r\n", "an HDF5 file; store it as an .npz file"),
        ("images.npy", b"\x93NUMPY\1\0", "an .npy file; put it into a folder"),
        ("train-images-idx3-ubyte", b"\0\0\x08\3", "an idx file; give the folder"),
        ("train-images-idx3-ubyte.gz", b"\x1f\x8b\x08", "an idx file; give the folder"),
        ("data_batch_1", b"\x80\2}", "a pickle; if it is a batch of CIFAR, give the folder"),
        ("train.csv", b"label,pixel0", "a .csv table; store it as an .npz file"),
        ("a.jpg", b"<!DOCTYPE html><html>", "a web page"),
        ("a", b"", "an empty file"),
        ("a", b"anything", "neither a folder nor an .npz file"),
    ],
)
def test_a_file_that_is_no_data_set_is_called_what_it_is(tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content)
    assert expected in refusal(tmp_path / name)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([], "an empty folder: it holds no data"),
        (["a.jpg", "b.PNG"], "a folder of 2 images in no folders of classes"),
        (["run/a.mp4", "walk/a.MOV"], "a folder of 2 videos; take images from them first"),
        (["a.pt"], "a folder of 1 file of weights"),
        (["a.txt", "b.txt", "c.md"], "a folder of 2 files of .txt"),
        (["Train/a/1.png", "Test/a/1.png"], "no data set has parts called Test, Train; call them"),
        (["training/a/1.png"], "parts called training; call them train and test"),
        (["a/b/c/d.png"], "nothing but folders"),
    ],
)
def test_a_folder_that_is_no_data_set_is_called_what_it_is(tmp_path, files, expected):
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(b"x")
    assert expected in refusal(tmp_path)


@pytest.mark.parametrize("make", ["idx", "cifar", "npy", "classes", "parts"])
def test_a_data_set_one_folder_further_down_is_pointed_to(tmp_path, make):
    home = tmp_path / "raw"
    home.mkdir()
    if make == "idx":
        write_idx(home)
    elif make in ("classes", "parts"):
        for name in ("a", "b") if make == "classes" else ("train/a", "test/a"):
            (home / name).mkdir(parents=True)
            (home / name / "1.png").write_bytes(b"x")
    elif make == "cifar":
        write_cifar100(home, "python", np.random.default_rng(0))
    else:
        np.save(home / "images.npy", IMAGES)
    assert f"the data set is in a folder of it; give {home}" in refusal(tmp_path)


# Augmentation


@given(
    seed=seeds,
    count=st.integers(0, 5),
    channels=st.integers(1, 3),
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    shift=st.integers(0, 3),
    flip=st.booleans(),
)
def test_each_augmented_image_is_a_shifted_and_perhaps_flipped_one(
    seed, count, channels, height, width, shift, flip
):
    rng = np.random.default_rng(seed)
    images = random_images(rng, count, channels, height, width)
    before = images.copy()
    outputs = Augmentation(shift, flip)(images, rng)
    assert outputs.shape == images.shape
    assert outputs.dtype == np.uint8
    assert not np.shares_memory(outputs, images)
    np.testing.assert_array_equal(images, before)
    for image, output in zip(images, outputs, strict=True):
        assert any(np.array_equal(output, version) for version in versions(image, shift, flip))


def versions(image: np.ndarray, shift: int, flip: bool):
    """Every shifted and flipped version of an image (C, H, W), cell by cell."""
    channels, height, width = image.shape
    for down in range(-shift, shift + 1):
        for right in range(-shift, shift + 1):
            version = np.zeros_like(image)
            for k in range(channels):
                for i in range(height):
                    for j in range(width):
                        if 0 <= i - down < height and 0 <= j - right < width:
                            version[k, i, j] = image[k, i - down, j - right]
            yield version
            if flip:
                yield version[:, :, ::-1]


@given(seed=seeds)
def test_the_same_seed_gives_the_same_bits(seed):
    images = random_images(np.random.default_rng(0), 9, 3, 8, 8)
    augment = Augmentation(shift=2, flip=True)
    first = augment(images, np.random.default_rng(seed))
    np.testing.assert_array_equal(augment(images, np.random.default_rng(seed)), first)


def test_without_shift_and_flip_an_image_stays_as_it_is():
    images = random_images(np.random.default_rng(0), 9, 3, 8, 8)
    outputs = Augmentation()(images, np.random.default_rng(1))
    np.testing.assert_array_equal(outputs, images)
    assert not np.shares_memory(outputs, images)


def test_every_shift_and_both_flips_come_up_about_equally_often():
    image = random_images(np.random.default_rng(0), 1, 1, 6, 6)
    augment = Augmentation(shift=1, flip=True)
    outputs = augment(image.repeat(18000, axis=0), np.random.default_rng(1))
    counts = [
        (outputs == version).all(axis=(1, 2, 3)).sum() for version in versions(image[0], 1, True)
    ]
    assert sum(counts) == 18000
    # 18 versions, 1000 of each expected, standard deviation √(18000 · 1/18 · 17/18) < 31
    assert all(abs(count - 1000) < 5 * 31 for count in counts)


def test_augmentation_refuses_what_it_cannot_take():
    with pytest.raises(ValueError, match="shift is -1; expected 0 or more"):
        Augmentation(shift=-1)
    with pytest.raises(ValueError, match=r"before normalisation; got shape .* of float32"):
        Augmentation()(np.zeros((1, 3, 4, 4), np.float32), np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"got shape \(3, 4, 4\)"):
        Augmentation()(np.zeros((3, 4, 4), np.uint8), np.random.default_rng(0))


# Preparation


@given(seed=seeds, count=st.sampled_from([1, 7, 1001]), channels=st.integers(1, 4))
def test_normalised_training_images_have_mean_0_and_deviation_1(seed, count, channels):
    images = random_images(np.random.default_rng(seed), count, channels, 4, 5)
    normalise = Normalisation.of(images)
    scaled = images / 255
    np.testing.assert_allclose(normalise.mean, scaled.mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(normalise.std, scaled.std(axis=(0, 2, 3)), rtol=1e-12)
    x = normalise(images, np.float64)
    np.testing.assert_allclose(x.mean(axis=(0, 2, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(x.std(axis=(0, 2, 3)), 1, rtol=1e-12)


def test_normalisation_is_the_formula_in_the_dtype_asked_for():
    images = random_images(np.random.default_rng(0), 2, 3, 4, 5)
    before = images.copy()
    normalise = Normalisation(mean=np.array([0.1, 0.5, 0.9]), std=np.array([1.0, 0.2, 3.0]))
    x = normalise(images)
    assert x.dtype == np.float32
    assert normalise(images, np.float64).dtype == np.float64
    expected = (images[1, 2, 3, 4] / 255 - 0.9) / 3.0
    # three roundings, to the nearest of float32, and those of the two constants
    np.testing.assert_allclose(x[1, 2, 3, 4], expected, rtol=0, atol=8 * np.finfo(np.float32).eps)
    np.testing.assert_array_equal(images, before)


def test_a_constant_channel_becomes_zero():
    images = np.full((2, 3, 4, 4), 77, np.uint8)
    normalise = Normalisation.of(images)
    np.testing.assert_array_equal(normalise.std, 1 / 255)
    np.testing.assert_allclose(normalise(images, np.float64), 0, atol=1e-12)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((0, 3, 4, 4), np.uint8),
        np.zeros((2, 0, 4, 4), np.uint8),
        np.zeros((1, 3, 4, 4), np.float32),
    ],
)
def test_normalisation_of_anything_but_images_is_refused(images):
    with pytest.raises(ValueError, match="takes one or more"):
        Normalisation.of(images)


@given(seed=seeds, height=st.integers(1, 4), width=st.integers(1, 4))
def test_low_resolution_is_the_average_of_each_2_by_2_block(seed, height, width):
    x_high = np.random.default_rng(seed).standard_normal((2, 3, 2 * height, 2 * width))
    x_low = low_resolution(x_high)
    assert x_low.shape == (2, 3, height, width)
    for i in range(height):
        for j in range(width):
            block = x_high[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
            np.testing.assert_allclose(x_low[:, :, i, j], block.mean(axis=(2, 3)), atol=1e-14)


# Batches


@given(seed=seeds, count=st.integers(0, 50), batch_size=st.integers(1, 60))
def test_batches_cover_every_index_once_and_only_the_last_is_short(seed, count, batch_size):
    in_order = list(batches(count, batch_size))
    shuffled = list(batches(count, batch_size, np.random.default_rng(seed)))
    for parts in (in_order, shuffled):
        assert [len(part) for part in parts[:-1]] == [batch_size] * (len(parts) - 1)
        assert all(1 <= len(part) <= batch_size for part in parts)
    assert [index for part in in_order for index in part] == list(range(count))
    assert sorted(index for part in shuffled for index in part) == list(range(count))


def test_the_same_seed_gives_the_same_batches_and_another_call_gives_others():
    rng = np.random.default_rng(0)
    first, second = (np.concatenate(list(batches(100, 32, rng))) for _ in range(2))
    again = np.concatenate(list(batches(100, 32, np.random.default_rng(0))))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, second)


def test_a_batch_size_below_one_is_refused_at_once():
    with pytest.raises(ValueError, match="batch_size is 0, expected a positive integer"):
        batches(10, 0)
