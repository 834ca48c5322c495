"""Malformed inputs by kind, drawn from a Generator: damaged bytes, arrays, files, settings."""

import gzip
import hashlib
import io
import json
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from npkd import __version__
from npkd.distill.checkpoint import HEADER

Bytes = Callable[[bytes, np.random.Generator], bytes]


# Damage to any file


def cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: _position(data, rng)]


def extended(data: bytes, rng: np.random.Generator) -> bytes:
    more = rng.bytes(int(rng.integers(1, 200)))
    return [data + more, more + data, data + data, data + bytes(3073)][rng.integers(4)]


def flipped(data: bytes, rng: np.random.Generator) -> bytes:
    damaged = bytearray(data)
    for _ in range(rng.integers(1, 9)):
        damaged[_position(data, rng)] ^= 1 << int(rng.integers(8))
    return bytes(damaged)


def overwritten(data: bytes, rng: np.random.Generator) -> bytes:
    length, position = int(rng.integers(1, 40)), _position(data, rng)
    patch = [bytes(length), b"\xff" * length, rng.bytes(length)][rng.integers(3)]
    return data[:position] + patch + data[position + length :]


def _position(data: bytes, rng: np.random.Generator) -> int:
    """Mostly near either end: that is where the structure of a file of images is."""
    near = int(min(rng.integers(400), len(data) - 1))
    return int([near, len(data) - 1 - near, rng.integers(len(data))][rng.integers(3)])


DAMAGE: dict[str, Bytes] = {
    "cut off": cut,
    "extended": extended,
    "bits flipped": flipped,
    "overwritten": overwritten,
}


# Arrays

DTYPES = ["?", "i1", "u2", ">i4", "i8", "f2", "f4", ">f8", "c8", "S3", "U2", "M8[s]", "V5", "O"]


def retyped(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.zeros(array.shape, DTYPES[rng.integers(len(DTYPES))])


def reshaped(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    array = np.atleast_1d(array)
    choices = [
        array[:0],
        array[:-1],
        array[..., :-1],
        array[None],
        array.ravel(),
        array.T,
        np.concatenate([array, array]),
        np.zeros((), array.dtype),
        np.zeros((3, 0, 2**40), array.dtype),
        np.zeros([1] * int(rng.integers(1, 30)), array.dtype),
    ]
    return choices[rng.integers(len(choices))]


def not_finite(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    values = array.astype([np.float32, np.float64][rng.integers(2)])
    bad = [np.nan, np.inf, -np.inf, 1e39][rng.integers(3 if values.dtype == np.float32 else 4)]
    values.reshape(-1)[rng.integers(values.size)] = bad
    return values


ALTERED: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "wrong dtype": retyped,
    "wrong shape": reshaped,
    "NaN and infinity": not_finite,
}


class Calls:
    """Pickles as a call of a function: what runs code in a reader that trusts pickles."""

    def __init__(self, function: Callable, *arguments: Any):
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


def harmful(canary: str, rng: np.random.Generator) -> Calls:
    """Makes a file or folder of this name when it is unpickled."""
    return [
        Calls(os.system, f"touch {canary}"),
        Calls(os.mkdir, canary),
        Calls(open, canary, "w"),
        Calls(eval, f"open({canary!r}, 'w')"),
        Calls(np.save, canary, 0),
    ][rng.integers(5)]


# .npy, .npz


def npy(array: Any) -> bytes:
    """The bytes of an .npy file; of an array of objects too, which are pickled."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def npz(arrays: dict[str, Any], compressed: bool = False) -> bytes:
    return zipped({f"{name}.npy": npy(array) for name, array in arrays.items()}, compressed)


def zipped(members: dict[str, bytes], compressed: bool = False) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", 8 if compressed else 0) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def huge_npy(rng: np.random.Generator) -> bytes:
    """A header that promises more than any memory holds, or makes no sense."""
    shapes = ["(10000000000, 32, 32)", "(2305843009213693952,)", "(3037000500, 3037000500)"]
    shapes += ["(-1, 28, 28)", "(-2, -14, 28)", "()", "(1,)*40", "(1L, 2L)", "[3]", "None", "9e9"]
    types = ["'|u1'", "'<f8'", "'|V0'", "'<U0'", "'|O'", "'<U999999999'", "'V99999999999'", "None"]
    types += ["[('a', '|u1', (99999, 99999))]", "'u1, ' * 9", "'(9999999,9999)u1'"]
    values = (
        types[rng.integers(len(types))],
        ["False", "True", "2"][rng.integers(3)],
        shapes[rng.integers(len(shapes))],
    )
    header = "{{'descr': {}, 'fortran_order': {}, 'shape': {}}}\n".format(*values)
    text = [header, header, header * 50, "(" * 5000, "[" * 150, "", "9" * 9000][rng.integers(7)]
    length = [len(text), len(text), 2**16 - 1, 0][rng.integers(4)]
    version = rng.integers(5)
    size = struct.pack("<H" if version <= 1 else "<I", length * (1 if version <= 1 else 2**15))
    if length == len(text):
        size = struct.pack("<H" if version <= 1 else "<I", length)
    return b"\x93NUMPY" + bytes([version, 0]) + size + text.encode() + bytes(64)


def huge_npz(name: str, rng: np.random.Generator) -> bytes:
    """Members that declare any size, in the header or in the directory, or of any number."""
    data = zipped({f"{name}.npy": huge_npy(rng)}, compressed=bool(rng.integers(2)))
    if rng.integers(2):
        return data
    whole = npy(np.zeros((12, 28, 28), np.uint8))
    sizes = struct.pack("<I", len(whole))
    lie = struct.pack("<I", int(rng.integers(2**32)))
    return zipped({f"{name}.npy": whole}, compressed=True).replace(sizes, lie)


def bomb(declared: int | None = None) -> bytes:
    """Somewhat more than 1 GiB of zeros under the name images.npy, in some MB.

    declared: the size that the archive states, if it lies.
    """
    shape = (1_400_000, 28, 28)
    head = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(head, header)
    size = len(head.getvalue()) + shape[0] * 28 * 28
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = packer.compress(head.getvalue()) + packer.flush(zlib.Z_FULL_FLUSH)
    zeros = packer.compress(bytes(28 * 28 * 1000)) + packer.flush(zlib.Z_FULL_FLUSH)
    body += zeros * (shape[0] // 1000) + packer.flush()  # each piece stands by itself
    return _archive("images.npy", body, size if declared is None else declared)


def overlapping_bomb(name: str = "images.npy") -> bytes:
    """Two thousand members that are all the same megabyte."""
    content = npy(np.zeros((1300, 28, 28), np.uint8))
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = packer.compress(content) + packer.flush()
    return _archive(name, body, len(content), zlib.crc32(content), members=2000)


def _archive(name: str, body: bytes, size: int, crc: int = 0, members: int = 1) -> bytes:
    """A zip file with one deflated body, which its directory may name several times."""
    fields = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 33, crc, len(body), size % 2**32, len(name), 0)
    local = b"PK\x03\x04" + fields + name.encode() + body
    entry = b"PK\x01\x02\x14\x00" + fields + struct.pack("<HHHII", 0, 0, 0, 0, 0) + name.encode()
    end = struct.pack("<HHHHIIH", 0, 0, members, members, len(entry) * members, len(local), 0)
    return local + entry * members + b"PK\x05\x06" + end


# idx files


def idx(array: np.ndarray, code: int = 8) -> bytes:
    """The bytes of an idx file; its header says that the entries are of this type."""
    axes = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, code, array.ndim % 256]) + axes + array.tobytes()


def huge_idx(rng: np.random.Generator) -> bytes:
    """A header that promises more than any memory holds, or makes no sense."""
    sizes = [int(2 ** rng.uniform(0, 32)) for _ in range(rng.integers(0, 6))]
    axes = [len(sizes), 3, 255][rng.integers(3)]
    code = [8, 8, 8, 9, 0x0D, 0][rng.integers(6)]
    return bytes([0, 0, code, axes]) + struct.pack(f">{len(sizes)}I", *sizes) + bytes(9408)


def gzip_bombs() -> list[bytes]:
    """Packed idx files that go on for 128 MiB, or declare 2 GiB, or declare what does not come."""
    zeros = gzip.compress(bytes(2**27))
    head = gzip.compress(idx(pixels := np.zeros((12, 28, 28), np.uint8)))
    declared = bytes([0, 0, 8, 3]) + struct.pack(">3I", 2**21, 32, 32)
    less = bytes([0, 0, 8, 3]) + struct.pack(">3I", 2**19, 32, 32)
    return [head + zeros, gzip.compress(declared) + zeros, gzip.compress(less + pixels.tobytes())]


# Pickles


def huge_pickle(rng: np.random.Generator) -> bytes:
    """Operations that ask for memory of any size: for text, bytes, lists, or the memo."""
    size = int(2 ** rng.uniform(20, 62))
    small = size % 2**31
    return (
        b"\x80\x05"
        + [
            b"B" + struct.pack("<I", small),
            b"\x8e" + struct.pack("<Q", size),
            b"\x96" + struct.pack("<Q", size),
            b"\x8d" + struct.pack("<Q", size),
            b"\x95" + struct.pack("<Q", size),
            b"\x8b" + struct.pack("<i", small),
            b"Nr" + struct.pack("<I", small),
            b"Np%d\n" % size,
            b"Nj" + struct.pack("<I", small),
            b"(" * 10_000 + b"t" * 9_000,
            b"]" * 5_000 + b"a" * 4_999 + b".",
            b"I" + b"9" * 6_000 + b"\n.",
            b"L" + b"9" * 4_000 + b"L\n.",
            b"cnumpy\ndtype\n(S'u1'\ntR(I%d\nK\x03tb." % size,
            b"cnumpy.core.numeric\n_frombuffer\n(C\x01acnumpy\ndtype\n(S'u1'\ntR(I%d\ntS'C'\ntR."
            % size,
        ][rng.integers(15)]
    )


def other_pickle(canary: str, rng: np.random.Generator) -> bytes:
    """A pickle of something else than arrays: of what would run code."""
    value = harmful(canary, rng)
    content = [value, {"data": value, "labels": [0]}, {b"data": np.array([value])}, [value] * 9]
    return pickle.dumps(content[rng.integers(4)], int(rng.integers(6)))


# JSON


def junk_in(value: Any, rng: np.random.Generator) -> Any:
    """What JSON can hold, with something else in one place of it."""
    if isinstance(value, dict) and value and rng.integers(8):
        key = list(value)[rng.integers(len(value))]
        others = {name: v for name, v in value.items() if name != key}
        return others if not rng.integers(8) else others | {key: junk_in(value[key], rng)}
    if isinstance(value, list) and value and rng.integers(8):
        place = rng.integers(len(value))
        return [*value[:place], junk_in(value[place], rng), *value[place + 1 :]]
    junk = [None, True, -1, 0, 1, 10**400, 0.5, float("nan"), -1e308, float("inf"), "x", "", [], {}]
    return [*junk, [[]], {"a": 1}, "large", 2**70][rng.integers(len(junk) + 4)]


# Checkpoints


def signed(content: bytes) -> bytes:
    """A checkpoint with this content, and the digest that goes with it."""
    return HEADER + hashlib.sha256(content).hexdigest().encode() + b"\n" + content


def content(about: Any, arrays: dict[str, Any]) -> bytes:
    """That of a checkpoint of this version; `about` may be any bytes."""
    text = about if isinstance(about, bytes) else json.dumps(about | {"npkd": __version__}).encode()
    return npz({"about": np.frombuffer(text, np.uint8), **arrays})


# Safetensors


def odd_safetensors(rng: np.random.Generator) -> bytes:
    """A header that promises what is not there, or makes no sense."""
    entry = '{"conv1.weight": {"dtype": %s, "shape": %s, "data_offsets": %s}}'
    header = entry % (
        ['"F32"', '"BF16"', '"F8_E4M3"', '"?"', "3"][rng.integers(5)],
        ["[16, 3, 3, 3]", "[99999999999]", "[-1]", "[]", '"x"'][rng.integers(5)],
        ["[0, 1728]", "[0, 99999999999]", "[8, 0]", "[0, 0]", "null"][rng.integers(5)],
    )
    text = [header, header, "[" * 3000, "null", '{"a": 1', "\xff"][rng.integers(6)]
    length = [len(text), len(text), 2**62, 0][rng.integers(4)]
    return struct.pack("<Q", length) + text.encode("latin1") + bytes(1728 * int(rng.integers(2)))


# State_dicts of PyTorch, made without it


def state_dict(
    arrays: dict[str, Any],
    program: bytes | None = None,
    order: str = "little",
    members: dict[str, bytes] | None = None,
    compressed: bool = False,
) -> bytes:
    """What torch.save writes; of arrays of a dtype that it has not, 16-bit floats of a new kind.

    program: in the place of the pickle. members: further ones of the zip file, or others.
    """
    held = {"a/data.pkl": program or pickled_state_dict(arrays), "a/byteorder": order.encode()}
    held["a/version"] = b"3\n"
    for number, array in enumerate(map(np.asarray, arrays.values())):
        held[f"a/data/{number}"] = array.astype(array.dtype.newbyteorder(order[0])).tobytes()
    return zipped(held | (members or {}), compressed)


STORAGES = {
    **{"float32": "Float", "float64": "Double", "float16": "Half", "uint16": "BFloat16"},
    **{"int64": "Long", "int32": "Int", "int16": "Short", "int8": "Char", "uint8": "Byte"},
    **{"bool": "Bool", "complex64": "ComplexFloat", "complex128": "ComplexDouble"},
}


def pickled_state_dict(arrays: dict[str, Any]) -> bytes:
    """Its data.pkl: an OrderedDict of tensors in C order, each in a storage of its own."""
    tensors = []
    for number, (name, array) in enumerate(arrays.items()):
        array = np.asarray(array)
        steps = [int(np.prod(array.shape[axis + 1 :])) for axis in range(array.ndim)]
        kind = STORAGES.get(array.dtype.name, "QInt8")
        tensors.append(_opcodes(name) + tensor(number, kind, array.size, 0, array.shape, steps))
    return b"\x80\x02" + ORDERED + b"(" + b"".join(tensors) + b"u."


ORDERED = b"ccollections\nOrderedDict\n)R"


def tensor(
    key: Any, kind: str, count: Any, offset: Any, size: Any, steps: Any, known: str = "storage"
) -> bytes:
    """The operations that make a tensor of a storage."""
    storage = b"(" + _opcodes(known) + f"ctorch\n{kind}Storage\n".encode()
    storage += _opcodes(str(key)) + _opcodes("cpu") + _opcodes(count) + b"tQ"
    view = _opcodes(offset) + _opcodes(tuple(size)) + _opcodes(tuple(steps))
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + view + b"\x89" + ORDERED + b"tR"


def _opcodes(value: Any) -> bytes:
    """Those that make a text, a whole number or a tuple of these."""
    return pickle.dumps(value, 2)[2:-1]


def odd_state_dict(arrays: dict[str, Any], rng: np.random.Generator) -> bytes:
    """Tensors that reach out of their storages, storages that are not there, and what asks for much

    of memory or time.
    """
    size = int(2 ** rng.uniform(1, 70))
    few = [0, 1, 3, -1, size, -size]
    shape = [few[k] for k in rng.integers(6, size=rng.integers(1, 4))]
    steps = [few[k] for k in rng.integers(6, size=len(shape) + (rng.integers(4) == 0))]
    crafted = [
        tensor(0, "Float", arrays["conv1.weight"].size, few[rng.integers(6)], shape, steps),
        tensor(0, "Float", arrays["conv1.weight"].size, 0, [1] * 100, [1] * 100),
        tensor(0, "Float", arrays["conv1.weight"].size, 0, [2**62] * 5000, [1] * 5000),
        tensor(0, "Double", size, 0, [2, 2], [2, 1]),
        tensor(["9", "../0", "", "data.pkl"][rng.integers(4)], "Float", 1, 0, [1], [1]),
        tensor(0, "Float", 1, 0, [1], [1], known="module"),
        b"X\x01\0\0\0aQ",
        b"(" + b"N" * 20_000 + b"tq\x07" + b"cargparse\nNamespace\nh\x07R" * 9_000,
        b"}q\x07" + b"h\x07" * 200_000,
        ORDERED + b"q\x07" + b"ctorch\nSize\nh\x07\x85\x81" * 20_000,
        b"ccollections\nOrderedDict\n}\x85R",
        b"ctorch._utils\n_rebuild_parameter\nN\x85R",
        b"]" * 100_000,
    ]
    program = b"\x80\x02}" + _opcodes("conv1.weight") + crafted[rng.integers(len(crafted))] + b"s."
    whole = pickled_state_dict(arrays)
    return [
        state_dict(arrays, program),
        state_dict(arrays, program),
        state_dict(arrays, program),
        state_dict(arrays, whole + bytes(5_000_000)),
        state_dict(arrays, compressed=True),
        state_dict(arrays, order=["big", "little "][rng.integers(2)]),
        state_dict(arrays, members={"a/data/0": bytes(size % 2000)}),
        state_dict(arrays, members={"b/data.pkl": whole}),
        state_dict(arrays, b"\x80\x02}" + _opcodes("model") + whole[2:-1] + b"s."),
    ][rng.integers(9)]


# Images


ZEROS = zlib.compress(bytes(30 * 2**20))


def png(
    width: int,
    height: int,
    depth: int = 8,
    colour: int = 2,
    chunks: bytes = b"",
    rows: bytes = bytes(5000),
) -> bytes:
    """A PNG that declares any size, with next to no pixels by default."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    pixels = zlib.compress(rows)
    return b"".join(
        [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), chunks, chunk(b"IDAT", pixels)]
    ) + chunk(b"IEND", b"")


def tiff(entries: dict[int, tuple[int, int, int]], more: bytes = b"") -> bytes:
    """A TIFF with one directory: by tag, type, count and value."""
    directory = b"".join(struct.pack("<HHII", tag, *entry) for tag, entry in entries.items())
    head = b"II*\0" + struct.pack("<IH", 8, len(entries))
    return head + directory + struct.pack("<I", 0) + more


def huge_tiff(rng: np.random.Generator) -> bytes:
    """A grey TIFF that declares any size, or a tag with any number of values, or to go round."""
    side = int(2 ** rng.uniform(5, 32))
    entries = {256: (4, 1, 32), 257: (4, 1, 32), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1)}
    entries |= {273: (4, 1, 134), 277: (3, 1, 1), 278: (4, 1, 32), 279: (4, 1, 1024)}
    tag = list(entries)[rng.integers(len(entries))]
    kind, count, value = entries[tag]
    wrong = [(kind, count, side), (kind, side, value), (int(rng.integers(20)), count, value)]
    wrong.append((2, side, 8))
    return tiff(entries | {tag: wrong[rng.integers(4)]}, bytes(1100))


def huge_webp(rng: np.random.Generator) -> bytes:
    """A WebP that declares to be large, by its canvas or by a chunk."""
    side = int(2 ** rng.uniform(5, 24)) - 1
    canvas = struct.pack("<I", 2) + (struct.pack("<I", side)[:3]) * 2
    lossless = b"\x2f" + struct.pack("<I", (side % 2**14) * (1 + 2**14)) + bytes(40)
    chunks = [b"VP8X" + struct.pack("<I", 10) + canvas, b"VP8L" + struct.pack("<I", 45) + lossless]
    chunks.append(b"EXIF" + struct.pack("<I", side * 256) + bytes(20))
    body = b"WEBP" + chunks[rng.integers(3)] + bytes(50)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def huge_image(rng: np.random.Generator) -> bytes:
    """An image file that declares to be large, in itself or in what comes with it."""
    side = int(2 ** rng.uniform(6, 31))
    return [
        png(side, side),
        png(32, side),
        png(32, 32, depth=16),
        png(32, 32, chunks=chunk(b"zTXt", b"a\0\0" + ZEROS)),
        png(32, 32, chunks=chunk(b"iCCP", b"a\0\0" + ZEROS)),
        b"P6 %d %d 255\n" % (side, side) + bytes(3072),
        b"P6 32 32 65535\n" + bytes(6144),
        b"GIF89a" + struct.pack("<HHBBB", side % 65536, side % 65536, 0x80, 0, 0) + bytes(900),
        b"BM" + struct.pack("<IIIIiiHHIIIIII", side, 0, 54, 40, side, -side, 1, 24, *[0] * 6),
        huge_tiff(rng),
        huge_webp(rng),
    ][rng.integers(11)]


# Settings and names

VALUES: list[Any] = [
    *(None, True, "", "x", "nan", "8", b"8", [], [8], {}, (1, 2), object(), 1j, type),
    *(0, -1, 2**31, 2**63, 10**30, 10**400, -(10**400), 0.5, -0.0, 1e-320, 1e308, 2.0),
    *(float("nan"), float("inf"), -float("inf"), np.float32("nan"), np.int64(-1), np.zeros(3)),
]

TEXTS = [
    *("", " ", "-", "--", "0", "-1", "1e400", "nan", "inf", "-inf", "1e-400", "٣", "1_0", "0x10"),
    *("9" * 400, "9" * 5000, "8.5", "1,5", "high ", "low\n", "a\nb", "a\r\nb", "\x1b[31mred", "%s"),
    *(
        "%n%d",
        "{0}",
        "é",
        "数据",
        "🙂",
        "\udcff",
        "\u2028",
        "\x85",
        "a" * 5000,
        "None",
        "true",
        "'",
    ),
    *("@file", "=", "\\", "$(true)", "--help=1", "-h1", "--out", "--no-augment=1", "\t"),
]

NAMES = [
    *(" ", "...", "~", "-", "--out", "a\nb", "a\rb", "\x1b[31mred", "%s%n", "{0}", "é", "数据"),
    *(
        "🙂",
        "\udcff\udcfe",
        "\u202e",
        "\u2028",
        "\x7f",
        "*",
        "?",
        "$HOME",
        "'",
        '"',
        "\\",
        ";",
        "|",
    ),
    *("a" * 255, "a" * 256, "a" * 5000, "mnist5k", ".npz", "x.npz", "x.NPZ", "con", "a\tb", "."),
]


# Cases of npkd.validate: an entry of a manifest, altered in place

OPTIONS = [
    *(
        "stride",
        "padding",
        "dilation",
        "groups",
        "kernel_size",
        "ceil_mode",
        "divisor_override",
        "factor",
        "mode",
        "axis",
        "lr",
        "momentum",
        "divisor",
        "p",
        "batches",
        "workers",
    ),
    *("reduction", "temperature", "variant", "half", "alpha", "soft", "soft_options", "delta", "x"),
]
OPTION_VALUES: list[Any] = [
    *(None, True, False, "", "x", "same", "none", "sum", "bilinear", "kl", "rkd_angle", "__doc__"),
    *(-1, 0, 1, 2, 3, 10**6, 2**63, 10**30, 10**400, 0.5, -0.0, 1e-320, 1e308, float("nan")),
    *(float("inf"), [], [2], [2, 1], [1, 2, 3], [-1, 2], [10**9, 1], [[1]], [1.5, 1], {}),
    *({"temperature": 2.0}, {"temperature": 0}, {"reduction": "none"}, {"x": 1}),
]
ODD_NAMES = [*NAMES, "", "\ud800", "a" * 100_000, "x", "dy", "terms", "op", "../x", "a\x1b]0;b\x07"]


def _one(given: Any, rng: np.random.Generator) -> Any:
    several = list(given)
    return several[rng.integers(len(several))]


def other_option(entry: dict, rng: np.random.Generator) -> None:
    """An option with another value, or one that there is not; or one is missing."""
    options = _one(entry["operations"], rng)["options"]
    name = _one([*options, _one(OPTIONS, rng)], rng)
    options[name] = _one(OPTION_VALUES, rng)
    if not rng.integers(8):
        del options[name]


def other_argument(entry: dict, rng: np.random.Generator) -> None:
    """An input or an output of another name, or of another tensor, missing or further."""
    side = _one(entry["operations"], rng)[["inputs", "outputs"][rng.integers(2)]]
    name = _one([*side, "x"], rng)
    tensor = side.pop(name, "x")
    others = [*entry["tensors"], tensor, _one(ODD_NAMES, rng)]
    change = rng.integers(4)
    if change == 0:
        side[name] = _one(others, rng)
    elif change == 1:
        side[_one(["w", "b", "dy", "dx", "student", "z", *ODD_NAMES], rng)] = tensor
    elif change == 2:
        side |= {name: tensor, _one(["w", "b", "dy", "z"], rng): _one(others, rng)}


def other_operation(entry: dict, rng: np.random.Generator) -> None:
    """An operation that is unknown, or another one, or none; or another order."""
    operations = entry["operations"]
    known = ["conv2d", "linear_backward", "relu", "sum", "copy", "rows", "distinct", "kl", "vid"]
    unknown = ["maximum", "move", "unknown", "conv3d", "relu_backward_backward", "conventions", ""]
    change = rng.integers(6)
    if change == 0:
        operations.reverse()
    elif change == 1:
        operations.append(_one(operations, rng))
    elif change == 2:
        del operations[rng.integers(len(operations)) :]
    else:
        _one(operations, rng)["op"] = _one(known if change == 3 else unknown, rng)


def other_listing(entry: dict, rng: np.random.Generator) -> None:
    """A tensor that is listed as something else."""
    tensor = _one(entry["tensors"].values(), rng)
    sizes = [0, 1, -1, 2**40, 10**400, 1.0, True, "2", None, []]
    change = rng.integers(4)
    if change == 0:
        tensor["shape"] = [*tensor["shape"][1:], _one(sizes, rng)]
    elif change == 1:
        tensor["dtype"] = _one(["float32", "float64", "int64", "bool", "complex64", "O", ""], rng)
    elif change == 2:
        tensor["role"] = _one(["input", "result", "both"], rng)
    else:
        tensor[_one(tensor, rng)] = _one(OPTION_VALUES, rng)


def odd_name(entry: dict, rng: np.random.Generator) -> None:
    """A name of anything that is none to be shown, or makes two things one."""
    name, operation = _one(ODD_NAMES, rng), _one(entry["operations"], rng)
    change = rng.integers(4)
    if change == 0:
        entry[_one(["name", "subject", "about"], rng)] = name
    elif change == 1:
        operation["name"] = name
    else:  # of a tensor, wherever it is
        old = _one(entry["tensors"], rng)
        entry["tensors"][name] = entry["tensors"].pop(old)
        for one in entry["operations"]:
            for side in ("inputs", "outputs"):
                one[side] = {k: name if t == old else t for k, t in one[side].items()}


def huge_case(entry: dict, rng: np.random.Generator) -> None:
    """What would take any memory or time: by an option, a shape, or the number of operations."""
    operations, size = entry["operations"], int(2 ** rng.uniform(10, 62))
    sizes = ["padding", "stride", "dilation", "kernel_size", "factor", "workers", "order"]
    change = rng.integers(5)
    if change <= 2:
        name = _one(sizes, rng)
        several = name not in ("factor", "workers", "order")
        value = _one([size, [size, 1], [1, size]], rng) if several else size
        for operation in operations if change else operations[:1]:
            operation["options"][name] = value
    if change in (1, 3):
        for tensor in entry["tensors"].values():
            if tensor["role"] == "result":
                tensor["shape"] = [size if n > 2 else n for n in tensor["shape"]]
    elif change == 4:
        last = operations[-1]
        tensor = _one(last["outputs"].values(), rng)
        for number in range(1200):
            new = f"copy {number}"
            entry["tensors"][new] = dict(entry["tensors"][tensor])
            operations.append(
                {
                    "name": new,
                    "op": "copy",
                    "inputs": {"x": tensor},
                    "outputs": {"y": new},
                    "options": {},
                }
            )


CASES: dict[str, Callable[[dict, np.random.Generator], None]] = {
    "other options": other_option,
    "other inputs and outputs": other_argument,
    "other operations": other_operation,
    "other shapes and dtypes": other_listing,
    "odd names": odd_name,
    "huge sizes": huge_case,
}


def other_text(text: str, rng: np.random.Generator) -> str:
    """A manifest that is no JSON, or none that makes sense."""
    return _one(
        [
            *("", "null", "[" * 100_000, '{"a":' * 50_000, "9" * 5000, "[]", "{}", text + "x"),
            text.replace('"version": 1', '"version": 2'),
            text.replace('"version": 1', '"version": ' + "9" * 400),
            text.replace('"name": ', '"name": "a", "name": ', 1),
            text.replace('"exact": ', '"exact": NaN, "x": '),
            text.replace('"options": {', '"options": {"x": ' + "[" * 500 + "]" * 500 + ", "),
            text.replace('"cases": [', '"cases": [' + "{}, " * 50_000),
            text.replace('"cases": [', '"cases": [], "others": ['),
        ],
        rng,
    )
