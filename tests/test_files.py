"""npkd.files: reads refuse what is missing, damaged, too large or harmful; writes are whole."""

import io
import os
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npkd.files import BadInput, npy_in_file, read_bytes, read_npz, write_atomically

ENOUGH = 10**6


def npz_bytes(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def npy_bytes(header: str) -> bytes:
    """An .npy file with this header and no data."""
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode("latin1")


def zip_of(path: Path, name: str, data: bytes, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr(name, data)
    return path


def refusal(path: Path, at_most: int = ENOUGH) -> str:
    """The one line with which read_npz refuses the file."""
    with pytest.raises(BadInput) as caught:
        read_npz(path, at_most=at_most)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_a_message_is_one_line_whatever_it_quotes():
    assert str(BadInput("a\nb\r\nc")) == "a b c"
    assert issubclass(BadInput, ValueError)


# Writing


def test_a_write_puts_the_bytes_there_and_leaves_no_temporary_file(tmp_path):
    path = tmp_path / "report.json"
    path.write_bytes(b"old")
    write_atomically(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["report.json"]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_write_that_fails_half_way_leaves_the_old_file_alone(tmp_path, error):
    path = tmp_path / "report.json"
    path.write_bytes(b"old")

    def write_half(file):
        file.write(b"ne")
        raise error

    with pytest.raises(type(error)):
        write_atomically(path, write_half)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["report.json"]


def test_a_written_file_has_the_permissions_of_any_other_new_file(tmp_path):
    write_atomically(tmp_path / "ours", lambda file: file.write(b""))
    (tmp_path / "other").write_bytes(b"")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "other").stat().st_mode


# Reading bytes


def test_a_file_is_read_up_to_the_limit_and_refused_above_it(tmp_path):
    path = tmp_path / "five"
    path.write_bytes(b"12345")
    assert read_bytes(path, at_most=5, what="a word") == b"12345"
    with pytest.raises(BadInput, match="5 bytes; expected a word of 4 at most"):
        read_bytes(path, at_most=4, what="a word")


def test_a_missing_file_is_named_with_what_it_should_have_been(tmp_path):
    with pytest.raises(BadInput, match="absent: No such file or directory; expected an image"):
        read_bytes(tmp_path / "absent", at_most=9, what="an image")


def test_a_folder_is_not_a_regular_file(tmp_path):
    with pytest.raises(BadInput, match="not a regular file"):
        read_bytes(tmp_path, at_most=9, what="an image")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_is_refused_without_waiting_for_a_writer(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadInput, match="not a regular file"):
        read_bytes(tmp_path / "pipe", at_most=9, what="an image")


# Reading .npz


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_back_bit_for_bit(tmp_path, save):
    rng = np.random.default_rng(0)
    arrays = {
        "conv1.weight": rng.standard_normal((4, 3, 2)).astype(np.float32),
        "fortran": np.asfortranarray(rng.integers(0, 256, (3, 5)).astype(np.uint8)),
        "big-endian": np.arange(3, dtype=">i4"),
        "scalar": np.array(7),
        "empty": np.zeros((0, 2)),
    }
    save(tmp_path / "arrays.npz", **arrays)
    loaded = read_npz(tmp_path / "arrays.npz", at_most=ENOUGH)
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        assert loaded[name].dtype == array.dtype
        np.testing.assert_array_equal(loaded[name], array)


ARRAYS = {"images": np.arange(24, dtype=np.uint8).reshape(2, 3, 4), "labels": np.arange(2)}
DIGITS = npz_bytes(**ARRAYS)


@given(position=st.integers(0, len(DIGITS) - 1), value=st.integers(0, 255))
def test_a_damaged_byte_never_changes_an_array(tmp_path_factory, position, value):
    path = tmp_path_factory.mktemp("damaged") / "digits.npz"
    path.write_bytes(DIGITS[:position] + bytes([value]) + DIGITS[position + 1 :])
    try:
        loaded = read_npz(path, at_most=ENOUGH)
    except BadInput:
        return
    for name, array in loaded.items():  # the zip directory may lose a member, which shows
        np.testing.assert_array_equal(array, ARRAYS[name])


@given(length=st.integers(0, len(DIGITS) - 1))
def test_a_file_cut_anywhere_is_refused(tmp_path_factory, length):
    path = tmp_path_factory.mktemp("cut") / "digits.npz"
    path.write_bytes(DIGITS[:length])
    refusal(path)


def test_a_file_that_is_no_zip_is_refused(tmp_path):
    path = tmp_path / "text.npz"
    path.write_text("images, labels")
    assert "not a zip file" in refusal(path)


def test_arrays_of_python_objects_are_refused(tmp_path):
    np.savez(tmp_path / "objects.npz", labels=np.array([{}], dtype=object))
    assert "'labels.npy' holds Python objects" in refusal(tmp_path / "objects.npz")


def test_a_member_that_is_no_array_is_refused(tmp_path):
    assert "'notes.txt' is not an .npy array" in refusal(
        zip_of(tmp_path / "notes.npz", "notes.txt", b"hello")
    )


def test_a_compression_that_numpy_never_writes_is_refused(tmp_path):
    data = npy_bytes("{'descr': '|u1', 'fortran_order': False, 'shape': (0,)}\n")
    path = zip_of(tmp_path / "lzma.npz", "images.npy", data, zipfile.ZIP_LZMA)
    assert "in a way that NumPy never uses" in refusal(path)


def test_an_unknown_npy_version_is_refused(tmp_path):
    path = zip_of(tmp_path / "new.npz", "images.npy", b"\x93NUMPY\x09\x00\x00\x00")
    assert "version (9, 0)" in refusal(path)


def refused_within(path: Path, at_most: int, memory: int) -> str:
    """The refusal, which may not take more than `memory` bytes on the way."""
    refusal(path, at_most)  # first use of a module allocates, too
    tracemalloc.start()
    message = refusal(path, at_most)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < memory
    return message


def test_a_bomb_is_refused_by_the_size_it_declares_before_it_unpacks(tmp_path):
    np.savez_compressed(tmp_path / "bomb.npz", images=np.zeros(4 * 10**7, np.uint8))
    message = refused_within(tmp_path / "bomb.npz", at_most=10**6, memory=10**6)
    assert "unpacks to 40,000,128 bytes; at most 1,000,000 allowed" in message


def test_declared_sizes_are_added_up_over_the_members(tmp_path):
    path = tmp_path / "sum.npz"
    path.write_bytes(npz_bytes(a=np.zeros(600, np.uint8), b=np.zeros(600, np.uint8)))
    assert read_npz(path, at_most=1456).keys() == {"a", "b"}  # each has a header of 128 bytes
    assert "unpacks to 1,456 bytes; at most 1,455 allowed" in refusal(path, at_most=1455)


def test_a_header_that_promises_more_than_the_zip_directory_is_refused(tmp_path):
    header = npy_bytes("{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000,)}\n")
    path = zip_of(tmp_path / "huge.npz", "images.npy", header)
    message = refused_within(path, at_most=10**6, memory=10**6)
    assert "declares 80,000,000,0" in message


def test_a_zip_directory_that_promises_less_than_the_member_holds_is_refused(tmp_path):
    array = np.zeros(4 * 10**7, np.uint8)
    true_size, lie = (len(array) + 128).to_bytes(4, "little"), (90_000).to_bytes(4, "little")
    data = npz_bytes(images=array)
    assert true_size in data
    (tmp_path / "liar.npz").write_bytes(data.replace(true_size, lie))
    message = refused_within(tmp_path / "liar.npz", at_most=10**6, memory=10**6)
    assert "declares 40,000,128 bytes, the zip directory 90,000" in message


# Arrays that stay in their files


@given(
    shape=st.lists(st.integers(0, 4), min_size=1, max_size=4).map(tuple),
    dtype=st.sampled_from([np.uint8, ">i4", np.float64]),
    order=st.sampled_from("CF"),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_part_of_an_array_in_a_file_is_that_of_the_array(
    tmp_path_factory, shape, dtype, order, seed
):
    rng = np.random.default_rng(seed)
    array = np.asarray(rng.integers(0, 256, shape).astype(dtype), order=order)
    path = tmp_path_factory.mktemp("npy") / "a.npy"
    np.save(path, array)
    stored = npy_in_file(path)
    assert (stored.shape, stored.dtype, len(stored)) == (array.shape, array.dtype, len(array))
    indices = rng.integers(0, len(array), 5) if len(array) else np.empty(0, int)
    for part in (..., slice(1, 3), indices):
        found = stored[part]
        np.testing.assert_array_equal(found, array[part])
        assert found.flags.writeable


def test_an_array_in_a_file_takes_the_memory_of_a_part(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(10**6))
    stored = npy_in_file(tmp_path / "a.npy")
    tracemalloc.start()
    part = stored[5000:5010]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert part.tolist() == list(range(5000, 5010))
    assert peak < 10**4


@pytest.mark.parametrize("change", ["longer", "shorter", "other", "gone"])
def test_a_file_that_changes_after_it_was_first_read_is_refused(tmp_path, change):
    path = tmp_path / "a.npy"
    np.save(path, np.arange(1000))
    stored = npy_in_file(path)
    data = path.read_bytes()
    if change == "gone":
        path.unlink()
    elif change == "other":
        path.write_bytes(data[:-1] + b"\1")
        os.utime(path, (1, 1))
    else:
        path.write_bytes(data[:-8] if change == "shorter" else data + b"\0")
    with pytest.raises(BadInput, match=r"has been changed|No such file"):
        stored[:3]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (3,)}\n", "128 bytes; expected"),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (0,)}\n", "holds Python objects"),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (-2, -3)}\n", "has the shape"),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': 3}\n", "can take"),
        ("{'descr': '<f8'}\n", "can take"),
        ("(" * 2000, "can take"),
    ],
)
def test_an_npy_file_whose_header_is_not_true_is_refused(tmp_path, header, message):
    path = tmp_path / "a.npy"
    path.write_bytes(npy_bytes(header.rjust(118)))
    with pytest.raises(BadInput, match=message):
        npy_in_file(path)


def test_no_more_of_an_npy_header_is_read_than_one_can_have(tmp_path):
    path = tmp_path / "a.npy"
    with open(path, "wb") as file:
        file.write(b"\x93NUMPY\x02\x00" + (2**31).to_bytes(4, "little"))
        file.truncate(2**31 + 100)  # takes no room on the disk
    tracemalloc.start()
    with pytest.raises(BadInput, match="can take"):
        npy_in_file(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10**6
