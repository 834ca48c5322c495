"""What a file or a folder is that is no data set, and what to do with it: for messages."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

# How a file begins, and what it then is.
BEGINNINGS = (
    (b"\x89PNG\r\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"BM", "a BMP image"),
    (b"II*\0", "a TIFF image"),
    (b"MM\0*", "a TIFF image"),
    (b"8BPS", "a Photoshop file"),
    (b"%PDF", "a PDF file"),
    (b"%!PS", "a PostScript file"),
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "an XML file, perhaps an SVG drawing"),
    (b"<!doc", "a web page"),
    (b"<html", "a web page"),
    (b"\x1aE\xdf\xa3", "a video"),
    (b"\0\0\1\xba", "a video"),
    (b"\x1f\x8b", "an archive packed by gzip"),
    (b"BZh", "an archive packed by bzip2"),
    (b"\xfd7zXZ", "an archive packed by xz"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a rar archive"),
    (b"PK\3\4", "a zip archive"),
    (b"\x89HDF", "an HDF5 file"),
    (b"MATLAB", "a MATLAB file"),
    (b"PAR1", "a Parquet table"),
    (b"\x93NUMPY", "an .npy file"),
    (b"\0\0\x08", "an idx file"),
    (b"\x80\2", "a pickle"),
    (b"\x80\3", "a pickle"),
    (b"\x80\4", "a pickle"),
    (b"\x80\5", "a pickle"),
)
IMAGE_ENDINGS = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".tif", ".tiff"),
    *(".gif", ".ppm", ".pgm", ".pbm", ".pnm"),
)
VIDEO_ENDINGS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".m4v")
WEIGHT_ENDINGS = (".pth", ".pt", ".ckpt", ".safetensors", ".onnx", ".keras")

AS_NPZ = "store it as an .npz file with arrays images and labels"
AS_FOLDER = "a data set is a folder that holds a folder of images for each class"
UNPACK = "unpack it, and give the folder that comes out"
TO_DO = {  # by what the description of a file ends with
    "image": AS_FOLDER,
    "video": f"take images from it first; {AS_FOLDER}",
    "archive": UNPACK,
    "gzip": UNPACK,
    "bzip2": UNPACK,
    "xz": UNPACK,
    "HDF5 file": AS_NPZ,
    "MATLAB file": AS_NPZ,
    "table": AS_NPZ,
    ".npy file": "put it into a folder as images.npy, with labels.npy beside it; give the folder",
    "idx file": "give the folder that it is in, with its labels",
    "pickle": "if it is a batch of CIFAR, give the folder that it is in",
}


def content(head: bytes) -> str:
    """What the first 300 bytes or so of a file say that it is, "a PNG image"; or ""."""
    if not head:
        return "an empty file"
    if head[257:262] == b"ustar":
        return "a tar archive"
    if head[:4] == b"RIFF":
        return "a WebP image" if head[8:12] == b"WEBP" else "a video"
    if head[4:8] == b"ftyp":
        is_avif = head[8:12] in (b"avif", b"avis")
        is_heic = head[8:10] == b"he" or head[8:12] in (b"mif1", b"msf1")
        return "an AVIF image" if is_avif else "a HEIC image" if is_heic else "a video"
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace():
        return "a PPM image"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for beginning, what in BEGINNINGS:
        if head.startswith(beginning) or (beginning[:1] == b"<" and text.startswith(beginning)):
            return what
    return ""


def file(path: Path, head: bytes) -> str:
    """What a file is, and what to do with it: "a PNG image; …"; or ""."""
    ending = path.suffix.lower()
    if ending in WEIGHT_ENDINGS or (head[:4] == b"PK\3\4" and b"/data.pkl" in head):
        what = f"a file of weights ({ending})" if ending else "a file of weights"
        return f"{what}, and no data to train on; those of a trained large net go with --teacher"
    what = "an idx file" if "-ubyte" in path.name else content(head)
    if ending in (".csv", ".tsv", ".xlsx"):
        what = what or f"a {ending} table"
    if ending in VIDEO_ENDINGS:
        what = "a video"
    for last, to_do in TO_DO.items():
        if what.endswith(last):
            return f"{what}; {to_do}"
    return what


def folder(entries: list[Path]) -> str:
    """What a folder is, of which these are the visible entries, and what to do with it."""
    if not entries:
        return "an empty folder"
    files = [entry for entry in entries if not entry.is_dir()]
    below = [
        file
        for entry in entries
        if entry.is_dir()
        for file in entry.iterdir()
        if file.is_file() and not file.name.startswith(".")
    ]
    endings = Counter(file.suffix.lower() for file in (*files, *below))
    videos = sum(endings[ending] for ending in VIDEO_ENDINGS)
    images = sum(endings[ending] for ending in IMAGE_ENDINGS)
    weights = sum(endings[ending] for ending in WEIGHT_ENDINGS)
    if images:  # not in folders of their own, or they would have been read
        return f"a folder of {counted(images, 'image')} in no folders of classes; {AS_FOLDER}"
    if videos:
        return f"a folder of {counted(videos, 'video')}; take images from them first"
    if weights:
        return f"a folder of {counted(weights, 'file')} of weights, and no data to train on"
    if endings:
        (ending, count), *_ = endings.most_common(1)
        return f"a folder of {counted(count, 'file')} of {ending or 'no ending'}"
    return "a folder of nothing but folders that are empty or hold folders"


def few(names: Sequence[str]) -> str:
    """The first five of them."""
    return ", ".join(names[:5]) + " …" * (len(names) > 5)


def counted(number: int, what: str) -> str:
    """As in "1 image" and "2,000 images"."""
    return f"{number:,} {what}{'s' * (number != 1)}"
