"""npkd.data: images in their files are like those in memory, and take no memory; images of any
size and format are what a viewer shows, at the size that was asked for.
"""

import io
import re
import shutil
import tracemalloc
import warnings
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import malformed
import numpy as np
import photographs
import pytest
import studies
import tiny
from hypothesis import given
from hypothesis import strategies as st

from npkd import distill
from npkd.data import image_folder, load, resizing
from npkd.data.image_folder import read_image
from npkd.data.images import IMAGES_AT_ONCE, StoredImages, parts_of, standard_form, subset
from npkd.data.resizing import resized
from npkd.distill.tasks import TASKS
from npkd.engine import memory, threads
from npkd.files import BadInput
from npkd.ops import windows

seeds = st.integers(0, 2**32 - 1)


@given(
    seed=seeds,
    counts=st.lists(st.integers(0, 4), min_size=1, max_size=4),
    layout=st.sampled_from([(28, 28), (32, 32, 3), (4, 12, 12), (9, 17), (15, 10, 2)]),
    size=st.sampled_from([None, 8, 16]),
)
def test_images_in_several_files_are_indexed_like_one_array(seed, counts, layout, size):
    rng = np.random.default_rng(seed)
    size = size or (16 if 9 in layout or 15 in layout else None)
    files = [rng.integers(0, 256, (count, *layout), dtype=np.uint8) for count in counts]
    whole = standard_form(np.concatenate(files), "here", size)
    stored = StoredImages(files, "here", size=size)
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


# Resizing


@given(seed=seeds, size=st.integers(1, 9), height=st.integers(1, 20), width=st.integers(1, 20))
def test_resizing_is_its_definition(seed, size, height, width):
    """Of one cell, in exact fractions; weights are rounded to 2⁻²⁰, which moves it by less."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width), dtype=np.uint8)
    side = min(height, width)
    scale = Fraction(side, size)
    at = rng.integers(0, size, 2)

    def weights(length: int, index: int) -> list[Fraction]:
        centre = Fraction(length - side, 2) + (index + Fraction(1, 2)) * scale
        near = [
            max(Fraction(0), 1 - abs(k + Fraction(1, 2) - centre) / max(scale, 1))
            for k in range(length)
        ]
        return [weight / sum(near) for weight in near]

    rows, columns = weights(height, int(at[0])), weights(width, int(at[1]))
    exact = sum(
        rows[k] * int(image[k, m]) * columns[m] for k in range(height) for m in range(width)
    )
    found = resized(image[None, None], size)[0, 0, at[0], at[1]]
    assert abs(float(exact) - found) <= 0.5 + 0.01


@given(seed=seeds, value=st.integers(0, 255), size=st.integers(1, 40))
def test_a_constant_image_stays_constant_and_one_of_the_size_stays_as_it_is(seed, value, size):
    height, width = np.random.default_rng(seed).integers(1, 60, 2)
    constant = np.full((2, 3, height, width), value, np.uint8)
    assert (resized(constant, size) == value).all()
    images = np.random.default_rng(seed).integers(0, 256, (2, 3, size, size), dtype=np.uint8)
    before = images.copy()
    y = resized(images, size)
    np.testing.assert_array_equal(y, before)
    assert not np.shares_memory(y, images)


@given(seed=seeds)
def test_each_image_is_resized_as_if_it_were_alone(seed):
    images = np.random.default_rng(seed).integers(0, 256, (5, 2, 9, 14), dtype=np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resizing, "CELLS_AT_ONCE", 600)
        y = resized(images, 8)
    for image, one in zip(images, y, strict=True):
        np.testing.assert_array_equal(resized(image[None], 8)[0], one)


@given(seed=seeds, size=st.integers(1, 40))
def test_arrays_are_resized_as_pillow_resizes_images(seed, size):
    """Which rounds in between, to whole values."""
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 90, 2)
    pixels = rng.integers(0, 256, (height, width), dtype=np.uint8)
    side = min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, left + side, top + side)
    expected = image.fromarray(pixels).resize((size, size), image.Resampling.BILINEAR, box)
    found = resized(pixels[None, None], size)[0, 0]
    assert np.abs(found.astype(int) - np.asarray(expected)).max() <= 1


def test_resizing_many_arrays_takes_little_memory_for_each():
    small = StoredImages([np.broadcast_to(np.uint8(7), (40, 1, 8, 8))], "here", size=512)
    tracemalloc.start()
    for part in parts_of(small):
        assert (part == 7).all()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**27


def test_resizing_large_arrays_takes_little_memory():
    stored = np.broadcast_to(np.uint8(7), (300, 3, 640, 480))
    images = StoredImages([stored], "here", size=16)
    tracemalloc.start()
    assert (images[:] == 7).all()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**26 < stored.size


# Folders of images of any format and size


@pytest.fixture
def pil() -> SimpleNamespace:
    pytest.importorskip("PIL")
    from PIL import Image, ImageOps

    return SimpleNamespace(Image=Image, ImageOps=ImageOps)


COLOUR = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
GREY = COLOUR[..., 0]


def encoded(pil: SimpleNamespace, image: Any, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    (pil.Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(
        file, format, **options
    )
    return file.getvalue()


def write(folder: Path, *images: bytes, ending: str = ".png") -> Path:
    """Ten images of two classes: these in turn."""
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for number in range(5):
            (folder / name / f"{number}{ending}").write_bytes(images[number % len(images)])
    return folder


def said(folder: Path, **options: Any) -> str:
    return "; ".join(load(folder, **options).notes)


EXACT = {"PNG": {}, "WEBP": {"lossless": True}, "BMP": {}, "TIFF": {}, "PPM": {}}


@pytest.mark.parametrize("format", EXACT)
@pytest.mark.parametrize("pixels", [COLOUR, GREY], ids=["colour", "grey"])
def test_every_format_comes_back_bit_for_bit_whatever_its_ending(tmp_path, pil, format, pixels):
    data = encoded(pil, pixels, format, **EXACT[format])
    expected = np.broadcast_to(pixels.T if pixels.ndim == 3 else pixels.T[None], (3, 32, 32))
    for ending in (".JPG", ".Tiff", ".webp"):
        dataset = load(write(tmp_path / ending, data, ending=ending))
        np.testing.assert_array_equal(dataset.train_images[3], expected.transpose(0, 2, 1))
        assert dataset.notes == ()
    np.testing.assert_array_equal(read_image(data, size=32), expected.transpose(0, 2, 1))


@pytest.mark.parametrize("format", ["JPEG", "GIF", "WEBP"])
def test_a_format_that_loses_something_comes_back_as_pillow_shows_it(pil, format):
    data = encoded(pil, COLOUR, format)
    shown = np.asarray(pil.Image.open(io.BytesIO(data)).convert("RGB"))
    np.testing.assert_array_equal(read_image(data, size=32), shown.transpose(2, 0, 1))


@pytest.mark.parametrize("format", ["GIF", "WEBP", "TIFF", "PNG"])
def test_of_several_frames_the_first_is_read(pil, format):
    frames = [pil.Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    data = encoded(pil, frames[0], format, save_all=True, append_images=frames[1:])
    image = read_image(data, size=32)
    assert image[0].min() >= 250
    assert image[1:].max() <= 5


def test_a_palette_and_two_colours_are_read(pil):
    palette = pil.Image.fromarray(GREY // 64).convert("P")
    palette.putpalette([value for v in range(256) for value in (v * 50 % 256, v * 7 % 256, 9)])
    found = read_image(encoded(pil, palette, "PNG"), size=32)
    v = np.asarray(palette).astype(int)
    np.testing.assert_array_equal(found, [v * 50 % 256, v * 7 % 256, np.full_like(v, 9)])
    black_and_white = pil.Image.fromarray(GREY).convert("1")
    found = read_image(encoded(pil, black_and_white, "PNG"), size=32)
    np.testing.assert_array_equal(found[0], np.where(black_and_white, 255, 0))


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_become_eight_by_a_division_of_257(tmp_path, pil, format):
    deep = np.random.default_rng(1).integers(0, 65536, (32, 32)).astype(np.uint16)
    deep[0, :3] = 0, 65535, 257
    data = b"P5 32 32 65535\n" + deep.astype(">u2").tobytes()
    if format != "PPM":  # which older Pillows do not write
        data = encoded(pil, deep, format)
    rounded = [[round(Fraction(int(v), 257)) for v in row] for row in deep]
    for channel in read_image(data, size=32):
        np.testing.assert_array_equal(channel, rounded)
    note = "10 images of 16 bits, or nearly, brought to 8; the largest value is 65,535 of 65,535"
    assert note in said(write(tmp_path, data))


def packed(values: np.ndarray, bits: int) -> bytes:
    """Rows of whole numbers, of so many bits each, the most significant first."""
    ones = values[..., None] >> np.arange(bits)[::-1] & 1
    return np.packbits(ones.reshape(len(values), -1), axis=1).tobytes()


def test_a_grey_tiff_is_what_a_viewer_shows_at_every_depth_and_where_white_is_zero():
    pytest.importorskip("PIL")
    rng = np.random.default_rng(1)
    for bits, dtype in ((4, None), (8, None), (12, None), (16, "<u2")):
        v = rng.integers(0, 2**bits, (32, 32))
        pixels = v.astype(dtype).tobytes() if dtype else packed(v, bits)
        shown = [[round(Fraction(255 * int(p), 2**bits - 1)) for p in row] for row in v]
        for photometric in (0, 1) if bits != 12 else (1,):
            tags = {256: 32, 257: 32, 258: bits, 259: 1, 262: photometric, 273: 122}
            tags |= {277: 1, 278: 32, 279: len(pixels)}
            found = read_image(
                malformed.tiff({tag: (4, 1, value) for tag, value in tags.items()}, pixels), size=32
            )
            expected = shown if photometric else np.subtract(255, shown)
            np.testing.assert_array_equal(found[0], expected)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_grey_png_is_transparent_where_it_says_at_every_depth(bits):
    """Its chunk tRNS names a value; transparent places are red then, all others grey."""
    pytest.importorskip("PIL")
    v = np.random.default_rng(2).integers(0, 2**bits, (32, 32))
    v[::2] = v[0, 0]
    clear = malformed.chunk(b"tRNS", int(v[0, 0]).to_bytes(2, "big"))
    rows = b"".join(b"\0" + packed(row[None], bits) for row in v)
    image = read_image(malformed.png(32, 32, bits, 0, clear, rows), size=32, background="red")
    is_red = (image[0] == 255) & (image[1] == 0)
    np.testing.assert_array_equal(is_red, v == v[0, 0])


@pytest.mark.parametrize("colour", [2, 4, 6])
def test_colours_of_sixteen_bits_are_refused_by_name(tmp_path, pil, colour):
    """Pillow would cut them to their upper eight."""
    refused = r"32×32 pixels of 16 bits a channel in colour; convert it to 8 bits"
    with pytest.raises(BadInput, match=rf"0.png: an image of {refused}"):
        load(write(tmp_path, malformed.png(32, 32, 16, colour)))
    for data in (
        b"P6 32 32 65535\n" + bytes(6144),
        b"P3 32 32 256\n" + b"1 " * 3072,
        malformed.tiff(
            {256: (4, 1, 32), 257: (4, 1, 32), 258: (3, 3, 122), 259: (3, 1, 1), 262: (3, 1, 2)}
            | {273: (4, 1, 128), 277: (3, 1, 3), 278: (4, 1, 32), 279: (4, 1, 6144)},
            b"\x10\0\x10\0\x10\0" + bytes(6144),
        ),
    ):
        with pytest.raises(BadInput, match=refused):
            read_image(data, size=32)


def test_sixteen_bits_of_no_high_value_are_refused_but_black_is_black(pil):
    low = np.minimum(GREY.astype(np.uint16), 255)
    with pytest.raises(
        BadInput, match=r"no value above .* of 65535; if these are values of 8 bits"
    ):
        read_image(encoded(pil, low, "PNG"), size=32)
    assert not read_image(encoded(pil, 0 * low, "PNG"), size=32).any()


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_colours_of_print_are_refused_with_what_to_do(tmp_path, pil, format):
    data = encoded(pil, pil.Image.fromarray(COLOUR).convert("CMYK"), format)
    with pytest.raises(BadInput, match=r"0.png: an image of 32×32 pixels in CMYK, .*convert it to"):
        load(write(tmp_path, data))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_shows_the_background_and_it_is_said(tmp_path, pil, mode):
    clear = pil.Image.new("RGBA", (32, 32), (255, 255, 255, 0))
    clear.paste((200, 200, 200, 255), (0, 0, 32, 16))
    data = encoded(pil, clear.convert(mode), "PNG")
    opaque = encoded(pil, pil.Image.new("RGBA", (32, 32), "red"), "PNG")
    folder = write(tmp_path, data, opaque)
    for background, colour in ((None, 0), ("white", 255), ("#0A0B0C", None)):
        dataset = load(folder, background=background)
        image = dataset.train_images[0]
        assert (image[:, :16] == 200).all()
        for channel, expected in enumerate((10, 11, 12) if colour is None else [colour] * 3):
            assert (image[channel, 16:] == expected).all()
        (note,) = dataset.notes
        assert note.startswith("6 images with transparent places put on ")
        assert ("black (--background COLOUR" if background is None else background) in note
    assert "transparent" not in said(write(tmp_path / "opaque", opaque))


def test_half_transparent_is_half_the_background_and_colours_do_not_bleed(pil):
    """Cells that nobody sees have a colour, which must not come in when the image shrinks."""
    half = pil.Image.new("RGBA", (64, 64), (100, 100, 100, 128))
    image = read_image(encoded(pil, half, "PNG"), size=32, background="white")
    np.testing.assert_allclose(image.astype(int), 100 * 128 / 255 + 255 * 127 / 255, atol=1)
    stripes = np.zeros((64, 64, 4), np.uint8)
    stripes[::2] = 255, 0, 0, 0  # red, and not to be seen
    stripes[1::2] = 0, 0, 255, 255
    image = read_image(encoded(pil, stripes, "PNG"), size=32)
    assert (image[0] == 0).all()


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_as_its_exif_data_say(tmp_path, pil, format, orientation):
    exif = pil.Image.Exif()
    exif[0x0112] = orientation
    pixels = COLOUR[:, :28] if format != "JPEG" else COLOUR
    data = encoded(pil, pixels, format, exif=exif, **EXACT.get(format, {}))
    shown = pil.ImageOps.exif_transpose(pil.Image.open(io.BytesIO(data)))
    upright = encoded(pil, shown, "PNG")
    np.testing.assert_array_equal(read_image(data, size=32), read_image(upright, size=32))
    assert ("10 images turned as EXIF says" in said(write(tmp_path, data))) == (orientation > 1)


def test_damaged_exif_data_leave_an_image_as_it_is_stored(pil):
    data = encoded(pil, COLOUR, "PNG", exif=b"garbage")
    np.testing.assert_array_equal(read_image(data, size=32), COLOUR.transpose(2, 0, 1))


def test_a_folder_of_squares_of_one_size_keeps_it(tmp_path, pil):
    pixels = np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    dataset = load(write(tmp_path, encoded(pil, pixels, "PNG")))
    assert dataset.image_shape == (3, 64, 64)
    np.testing.assert_array_equal(dataset.test_images[0], pixels.transpose(2, 0, 1))
    assert (dataset.notes, dataset.border) == ((), 0)


def test_images_of_28_get_a_border_where_all_are_of_28(tmp_path, pil):
    """Beside others they are resized like these, as a new one is when it is predicted."""
    small, large = encoded(pil, GREY[:28, :28], "PNG"), encoded(pil, COLOUR, "PNG")
    dataset = load(write(tmp_path / "28", small))
    assert (dataset.image_shape, dataset.border, dataset.notes) == ((3, 32, 32), 2, ())
    one = read_image(small, size=dataset.image_shape[1], border=dataset.border)
    np.testing.assert_array_equal(one, dataset.train_images[0])
    np.testing.assert_array_equal(one[0], np.pad(GREY[:28, :28], 2))
    both = load(write(tmp_path / "both", small, large))
    assert both.border == 0
    assert both.notes[0].startswith("images of 28×28 to 32×32 pixels brought to 32×32: resized")
    np.testing.assert_array_equal(both.train_images[0], read_image(small, size=32))
    np.testing.assert_array_equal(both.train_images[1], read_image(large, size=32))


@pytest.mark.parametrize("size", [None, 16])
def test_images_of_several_sizes_are_resized_and_cropped_to_their_middle(tmp_path, pil, size):
    rng = np.random.default_rng(3)
    shapes = [(90, 40, 3), (40, 130, 3), (30, 30, 3), (200, 201, 3)]
    pixels = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]
    folder = write(tmp_path, *(encoded(pil, image, "PNG") for image in pixels))
    dataset = load(folder, size=size)
    side = size or 32
    assert dataset.image_shape == (3, side, side)
    for index, image in enumerate(pixels):
        expected = resized(image.transpose(2, 0, 1)[None], side)[0]
        found = dataset.train_images[index]
        assert np.abs(found.astype(int) - expected).max() <= 1
        np.testing.assert_array_equal(read_image(folder / "a" / f"{index}.png", size=side), found)
    (note,) = dataset.notes
    assert note.startswith(f"images of 30×30 to 201×200 pixels brought to {side}×{side}")
    assert ("--size N" in note) == (size is None)


def test_a_large_jpeg_is_decoded_at_a_part_of_its_size_and_looks_the_same(pil):
    smooth = np.add.outer(np.arange(1200), np.arange(900)) / 2100 * 255
    image = pil.Image.fromarray(smooth.astype(np.uint8)).convert("RGB")
    found = read_image(encoded(pil, image, "JPEG", quality=95), size=32)
    expected = read_image(encoded(pil, image, "PNG"), size=32)
    assert np.abs(found.astype(int) - expected).max() <= 3


def test_what_is_left_out_is_counted_and_said(tmp_path, pil):
    folder = write(tmp_path, encoded(pil, COLOUR, "PNG"))
    for name in ("a/notes.txt", "b/list.TXT", "a/.hidden", "a/noending", "readme.md", "b/.x.png"):
        (folder / name).write_bytes(b"x")
    (folder / "b" / "more").mkdir()
    (folder / ".git").mkdir()
    (note,) = load(folder).notes
    assert note.startswith("8 files left out: 3 hidden, 2 of .txt, ")
    for what in ("1 of .md", "1 without ending", "1 folder in a class"):
        assert what in note


def test_photographs_of_odd_formats_and_sizes_show_what_a_viewer_shows(tmp_path, pil):
    """The class of each is to be seen in its left upper quarter; what was done is counted."""
    seen = photographs.write(tmp_path, 200, np.random.default_rng(0))
    dataset = load(tmp_path, background="white")
    assert (len(dataset.train_images), len(dataset.test_images)) == (161, 39)
    for images, labels in (
        (dataset.train_images, dataset.train_labels),
        (dataset.test_images, dataset.test_labels),
    ):
        colours = images[:, :, 2:14, 2:14].mean(axis=(2, 3))  # red, green, blue
        is_grey = np.ptp(colours, axis=1) < 1
        np.testing.assert_array_equal(2 - colours.argmax(axis=1)[~is_grey], labels[~is_grey])
        np.testing.assert_allclose(
            colours[is_grey, 0], np.array([60, 140, 250])[labels[is_grey]], atol=3
        )
    notes = " | ".join(dataset.notes)
    for expected in (
        "3 files left out: 1 ",
        "1 hidden",
        "1 of .txt",
        "1 of .db",
        "brought to 32×32",
        f"{seen['transparent']} images with transparent places put on white",
        f"{seen['turned']} images turned as EXIF says",
        f"{seen['deep']} images of 16 bits, or nearly, brought to 8",
    ):
        assert expected in notes
    assert min(seen.values()) >= 14


def test_a_file_called_test_is_no_part_of_cifar_100(tmp_path, pil):
    folder = write(tmp_path, encoded(pil, COLOUR, "PNG"))
    (folder / "test").write_text("x")
    assert load(folder).notes == ("1 file left out: 1 without ending",)


def test_val_does_for_test_and_what_is_beside_the_parts_is_said(tmp_path, pil):
    write(tmp_path / "train", encoded(pil, COLOUR, "PNG"))
    write(tmp_path / "val", encoded(pil, GREY, "PNG"))
    dataset = load(tmp_path)
    assert (len(dataset.train_images), len(dataset.test_images)) == (10, 10)
    assert "tested with the images in val/" in dataset.notes
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "1.png").write_bytes(encoded(pil, COLOUR, "PNG"))  # no labels: a contest's
    notes = ("tested with the images in val/", "left out beside these two parts: test")
    assert load(tmp_path).notes == notes
    write(tmp_path / "test", encoded(pil, COLOUR, "PNG"))
    (tmp_path / "test" / "1.png").unlink()
    dataset = load(tmp_path)
    np.testing.assert_array_equal(dataset.test_images[0], COLOUR.transpose(2, 0, 1))
    assert dataset.notes == ("left out beside these two parts: val",)


@pytest.mark.parametrize("name", ["train/c", "test"])
def test_a_folder_that_is_a_link_to_nothing_is_refused(tmp_path, pil, name):
    """Its class, or its part of the data set, would be missing without a word."""
    for part in ("train", "val"):
        write(tmp_path / part, encoded(pil, COLOUR, "PNG"))
    (tmp_path / name).symlink_to(tmp_path / "absent")
    with pytest.raises(BadInput, match=rf"{tmp_path / name}: (a link to nothing|missing)"):
        load(tmp_path)


def test_what_macos_adds_to_an_archive_is_no_class(tmp_path, pil):
    folder = write(tmp_path, encoded(pil, COLOUR, "PNG"))
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "._0.png").write_bytes(b"x")
    dataset = load(folder)
    assert dataset.class_names == ("a", "b")
    assert dataset.notes == ("1 file left out: 1 folder __MACOSX",)


def test_a_class_called_as_a_part_is_refused_with_the_reason(tmp_path, pil):
    folder = write(tmp_path, encoded(pil, COLOUR, "PNG"))
    for name in ("train", "test"):
        (folder / "b").rename(folder / name)
        (folder / "b").mkdir()
        with pytest.raises(BadInput, match="a class that is called so needs another name"):
            load(folder)
        (folder / "b").rmdir()
        (folder / name).rename(folder / "b")


def test_a_name_is_one_class_however_its_letters_are_stored(tmp_path, pil):
    """é may be one character or an e with an accent, as on macOS; sorted by the former."""
    whole, apart = "caf\u00e9", "cafe\u0301"
    for part, name in (("train", whole), ("test", apart), ("train", "cafz")):
        write(tmp_path / part / "new", encoded(pil, COLOUR, "PNG"))
        (tmp_path / part / "new" / "a").rename(tmp_path / part / name)
        shutil.rmtree(tmp_path / part / "new")
    dataset = load(tmp_path)
    assert dataset.class_names == ("cafz", whole)
    assert dataset.test_labels.tolist() == [1] * 5


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "it is an empty file; expected PNG, JPEG, WebP"),
        (b"\x89PNG\r\n\x1a\n" + bytes(20), "not an image that Pillow can read"),
        (b"\xff\xd8\xff" + bytes(300), "it begins as a JPEG image does, and is damaged"),
        (b"<!DOCTYPE html>", "it is a web page"),
        (b"%PDF-1.5", "it is a PDF file"),
        (b"\0\0\0\x18ftypheic", "it is a HEIC image"),
        (b"\1\2\3", "it is of no format that is known here"),
    ],
)
def test_a_damaged_image_is_refused_with_what_is_wrong_and_no_address(
    tmp_path, pil, content, expected
):
    write(tmp_path, content, ending=".jpg")
    with pytest.raises(BadInput, match=f"{tmp_path}/a/0.jpg: ") as caught:
        load(tmp_path)
    assert expected in str(caught.value)
    assert not re.search("0x[0-9a-f]{6}", str(caught.value))
    with pytest.raises(BadInput, match=r"^the image: ") as caught:
        read_image(content, size=32)
    assert expected in str(caught.value)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"])
def test_an_image_that_is_cut_off_is_refused(pil, format):
    data = encoded(pil, COLOUR, format)
    for length in (len(data) // 4, len(data) // 2):
        with pytest.raises(BadInput, match="the image: not an image that Pillow can read: "):
            read_image(data[:length], size=32)


@pytest.mark.parametrize("format", ["PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_an_image_with_a_damaged_bit_is_refused_wherever_pillow_refuses_it(pil, format):
    rng = np.random.default_rng(0)
    data = encoded(pil, rng.integers(0, 256, (12, 9, 3), dtype=np.uint8), format)
    refused = 0
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1 << int(rng.integers(8))
        try:
            with warnings.catch_warnings(action="ignore"):
                pil.Image.open(io.BytesIO(damaged), formats=[format]).load()
        except Exception:
            refused += 1
            with pytest.raises(BadInput):
                read_image(bytes(damaged), size=8)
    assert refused > 5 or format == "BMP"


def test_of_a_damaged_tiff_nothing_but_the_refusal_is_said(pil, capfd):
    """libtiff has words of its own, and so has Pillow, for a log that nobody has set up."""
    tiff = pil.Image.open(io.BytesIO(encoded(pil, COLOUR, "TIFF")))
    packed = bytearray(encoded(pil, tiff, "TIFF", compression="tiff_lzw"))
    packed[20:400] = bytes(380)
    for data in (bytes(packed), malformed.tiff({256: (4, 1, 8), 257: (4, 1, 8), 277: (3, 1, 99)})):
        with pytest.raises(BadInput, match="not an image that Pillow can read"):
            read_image(data, size=32)
    assert capfd.readouterr() == ("", "")


def test_an_image_of_too_many_pixels_or_bytes_is_refused_before_it_is_decoded(
    tmp_path, pil, monkeypatch
):
    monkeypatch.setattr(image_folder, "MOST_PIXELS", 1000)
    data = encoded(pil, COLOUR, "PNG")
    with pytest.raises(BadInput, match="32×32 pixels; expected 1,000 at most; make it smaller"):
        read_image(data, size=32)
    jpeg = encoded(pil, COLOUR, "JPEG")  # which is not decoded in full
    assert read_image(jpeg, size=8).shape == (3, 8, 8)
    monkeypatch.setattr(image_folder, "MOST_PIXELS_OF_JPEG", 1000)
    with pytest.raises(BadInput, match="32×32 pixels; expected 1,000 at most; make it smaller"):
        read_image(jpeg, size=8)
    monkeypatch.setattr(image_folder, "MOST_BYTES", 10)
    with pytest.raises(BadInput, match="expected an image of 10 bytes at most"):
        load(write(tmp_path, data))


def test_an_image_that_cannot_be_read_just_now_is_unreadable(tmp_path, pil):
    with pytest.raises(BadInput, match="No such file"):
        read_image(tmp_path / "absent.png", size=32)
    with pytest.raises(BadInput, match="not a regular file"):
        read_image(tmp_path, size=32)


@pytest.mark.parametrize("source", [None, 3])  # 3 would be a file that is open already
def test_read_image_refuses_what_is_no_path(pil, source):
    with pytest.raises(ValueError, match=r"source is (None|3); expected a path or bytes"):
        read_image(source, size=32)


@pytest.mark.parametrize("background", ["#f00", "#F00", "red", "#ff0000"])
def test_a_colour_may_be_given_in_short(pil, background):
    clear = encoded(pil, pil.Image.new("RGBA", (32, 32)), "PNG")
    image = read_image(clear, size=32, background=background)
    assert (image == np.array([255, 0, 0])[:, None, None]).all()


@pytest.mark.parametrize("options", [{"size": 30}, {"size": 32, "background": "nothing"}])
def test_read_image_refuses_options_that_are_none(pil, options):
    with pytest.raises(ValueError, match=r"size is 30|background is 'nothing'"):
        read_image(encoded(pil, COLOUR, "PNG"), **options)
