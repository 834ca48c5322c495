"""A folder of photographs as people have them: odd formats, sizes, colours, turns and endings."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

CLASSES = ("blue", "green", "red")
LEFT_OUT = ("notes.txt", "Thumbs.db", ".DS_Store")


def write(folder: Path, count: int, rng: np.random.Generator) -> Counter[str]:
    """So many images by class, and what a reader should count: transparent, turned, deep ones.

    The class is the colour of the left upper quarter, as a viewer shows it; all else is noise. Grey
    images are bright there by class.
    """
    seen: Counter[str] = Counter()
    for number in range(count):
        label = number % len(CLASSES)
        home = folder / CLASSES[label]
        home.mkdir(parents=True, exist_ok=True)
        kind = KINDS[number // len(CLASSES) % len(KINDS)]
        image, options = _drawn(label, kind, rng)
        seen += Counter({what: 1 for what in ("transparent", "turned", "deep") if kind.get(what)})
        image.save(home / f"{number:03}{kind['ending']}", kind["format"], **options)
    for name in LEFT_OUT:
        (folder / CLASSES[0] / name).write_bytes(b"x")
    return seen


KINDS: tuple[dict[str, Any], ...] = (
    {"format": "PNG", "ending": ".png"},
    {"format": "JPEG", "ending": ".JPG"},
    {"format": "JPEG", "ending": ".jpeg", "turned": True},
    {"format": "WEBP", "ending": ".webp"},
    {"format": "WEBP", "ending": ".jpg"},  # as a browser saves it
    {"format": "TIFF", "ending": ".TIF", "compression": "tiff_lzw"},
    {"format": "BMP", "ending": ".bmp"},
    {"format": "GIF", "ending": ".gif"},
    {"format": "PPM", "ending": ".ppm"},
    {"format": "PNG", "ending": ".PNG", "transparent": True},
    {"format": "PNG", "ending": ".png", "deep": True},
    {"format": "PNG", "ending": ".png", "mode": "P"},
    {"format": "JPEG", "ending": ".jfif", "mode": "L"},
)


def _drawn(label: int, kind: dict[str, Any], rng: np.random.Generator) -> tuple[Any, dict]:
    from PIL import Image

    height, width = rng.integers(24, 160, 2)
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    pixels = rng.integers(0, 128, (height, width, 3), dtype=np.uint8)
    quarter = pixels[top : top + side // 2, left : left + side // 2]
    options = {name: kind[name] for name in ("compression",) if name in kind}
    if kind.get("deep") or kind.get("mode") == "L":
        quarter[:] = (60, 140, 250)[label]
        grey = pixels[..., 0]
        return Image.fromarray(grey.astype(np.uint16) * 257 if kind.get("deep") else grey), options
    quarter[:] = 0
    quarter[..., 2 - label] = 250
    image = Image.fromarray(pixels)
    if kind.get("turned"):
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned to the right, so it is stored turned to the left
        image, options = image.transpose(Image.Transpose.ROTATE_90), options | {"exif": exif}
    elif kind.get("transparent"):
        alpha = np.full((height, width), 255, np.uint8)
        alpha[:, left + 3 * side // 4 :] = 0
        image.putalpha(Image.fromarray(alpha))
    elif "mode" in kind:
        image = image.convert(kind["mode"])
    return image, options
