"""npkd.data.images: images in their files are like those in memory, and take no memory."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import studies
import tiny
from hypothesis import given
from hypothesis import strategies as st

from npkd import distill
from npkd.data import load
from npkd.data.images import IMAGES_AT_ONCE, StoredImages, parts_of, standard_form, subset
from npkd.distill.tasks import TASKS
from npkd.engine import memory, threads
from npkd.files import BadInput
from npkd.ops import windows

seeds = st.integers(0, 2**32 - 1)


@given(seed=seeds, counts=st.lists(st.integers(0, 4), min_size=1, max_size=4), grey=st.booleans())
def test_images_in_several_files_are_indexed_like_one_array(seed, counts, grey):
    rng = np.random.default_rng(seed)
    layout = (28, 28) if grey else (32, 32, 3)
    files = [rng.integers(0, 256, (count, *layout), dtype=np.uint8) for count in counts]
    whole = standard_form(np.concatenate(files), "here")
    stored = StoredImages(files, "here")
    some = rng.permutation(len(whole))[: len(whole) // 2]
    for images, expected in ((stored, whole), (subset(stored, some), whole[some])):
        assert (images.shape, images.dtype) == (expected.shape, expected.dtype)
        assert len(images) == len(expected)
        np.testing.assert_array_equal(np.asarray(images), expected)
        first, last = sorted(rng.integers(0, len(expected) + 1, 2))
        np.testing.assert_array_equal(images[first:last], expected[first:last])
        if len(expected):
            indices = rng.integers(0, len(expected), 5)
            np.testing.assert_array_equal(images[indices], expected[indices])
            np.testing.assert_array_equal(images[int(indices[0])], expected[indices[0]])
            np.testing.assert_array_equal(subset(images, indices)[:], expected[indices])


@pytest.mark.parametrize("index", [3, -1, np.array([0, 3]), np.array([-1, 0])])
def test_an_index_out_of_range_is_refused(index):
    with pytest.raises(IndexError, match="of 3"):
        StoredImages([np.zeros((3, 32, 32), np.uint8)], "here")[index]


@pytest.mark.parametrize("index", [(0, 0), np.array([True, False, True]), 1.0, None])
def test_an_index_of_another_kind_is_refused(index):
    with pytest.raises(TypeError, match="an index, a slice or an array of indices"):
        StoredImages([np.zeros((3, 32, 32), np.uint8)], "here")[index]


def test_files_of_an_unknown_layout_are_refused():
    with pytest.raises(BadInput, match=r"here: images have shape \(3, 30, 30\) of uint8"):
        StoredImages([np.zeros((3, 30, 30), np.uint8)], "here")


@pytest.mark.parametrize("count", [0, 1, IMAGES_AT_ONCE, IMAGES_AT_ONCE + 1])
def test_parts_cover_all_images_in_order(count):
    images = np.arange(count)
    parts = list(parts_of(images))
    assert [*np.concatenate([np.empty(0, int), *parts])] == list(range(count))
    assert all(len(part) <= IMAGES_AT_ONCE for part in parts)


def in_files(folder, count):
    """The corners, so many for training and as many for testing, from .npy files."""
    data = tiny.dataset(count, count)
    for name, array in (
        ("images", data.train_images),
        ("labels", data.train_labels),
        ("test_images", data.test_images),
        ("test_labels", data.test_labels),
    ):
        np.save(folder / f"{name}.npy", array)
    return load(folder)


def run(dataset, **changes):
    """A run with all that makes images pass by: both views, augmentation, two versions."""
    config = tiny.config(augment=True, versions=2, teacher_views="both", **changes)
    with threads.one_blas_thread():
        *_, finished = distill.run(dataset, config)
    return finished


def test_a_run_on_files_is_the_run_on_arrays_to_the_last_bit(tmp_path):
    stored = in_files(tmp_path, 22)
    held = replace(
        stored,
        train_images=np.asarray(stored.train_images),
        test_images=np.asarray(stored.test_images),
    )
    assert isinstance(stored.train_images, StoredImages)
    assert stored.digest() == held.digest()
    one, other = run(stored), run(held)
    for name, network in one.networks.items():
        for key, theta in network.params.items():
            assert theta.tobytes() == other.networks[name].params[key].tobytes()
    assert one.report["history"] == other.report["history"]


@pytest.mark.parametrize("task", TASKS)
def test_the_memory_of_a_run_does_not_grow_with_the_number_of_images(tmp_path, monkeypatch, task):
    """What it keeps of an image is its label, its place and the teacher's outputs, no pixel.

    In nets so small that they do not hide what grows, images are read in parts of 64.
    """
    monkeypatch.setattr("npkd.data.images.IMAGES_AT_ONCE", 64)
    monkeypatch.setattr(threads, "_num_threads", 1)  # more of them overlap as it happens

    rates = dict.fromkeys(distill.RATES.values(), 3e-4)

    def peak(count):
        (tmp_path / str(count)).mkdir()
        dataset = in_files(tmp_path / str(count), count)
        memory._free.clear()  # what earlier runs have left would not count
        windows._of_thread.__dict__.clear()
        tracemalloc.start()
        run(dataset, batch_size=32, task=task, **rates)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    pixels = 3 * 32 * 32
    with studies.small_nets():
        assert peak(320) < peak(64) + (320 - 64) * pixels / 2
