"""The figures of a run in words, from report.json: how nets are called, the headline, the table."""

from collections.abc import Callable, Mapping
from typing import Any

from npkd.distill import evaluate
from npkd.printing.text import aligned, short

NAMES = {
    "large": "large",
    "small": "small, distilled",
    "small_from_labels": "small, from labels",
}
IN_EIGHT_BITS = {f"{name}_int8": name for name in NAMES}  # as `npkd quantise` makes them


def names_of(task: str) -> dict[str, str]:
    """What the three nets are called; "small_from_labels" is the key of the second small one."""
    if task == "super-resolve":
        return NAMES | {"small_from_labels": "small, from true images"}
    return NAMES


def nets_of(report: Mapping[str, Any]) -> dict[str, str]:
    """What the nets of a report are called: the three, and those of them in eight bits."""
    names = names_of(report["task"])
    eight = {name: of for name, of in IN_EIGHT_BITS.items() if name in report["models"]}
    return names | {name: f"{names[of]}, 8 bits" for name, of in eight.items()}


def resolution(report: Mapping[str, Any]) -> str:
    """That of the images which the small nets are shown: "low" or "high"."""
    return str(report["config"].get("small_input", "low"))


def image_shape(report: Mapping[str, Any]) -> tuple[int, int, int]:
    """That of the run's images; before it stood in reports, all had one."""
    channels, height, width = report["data"].get("image_shape", (3, 32, 32))
    return channels, height, width


def beside_small(report: Mapping[str, Any]) -> str:
    """The outputs of the large net for images in that resolution, by their name in samples.npz."""
    return "large" if resolution(report) == "high" else "large_low"


def headline(report: dict[str, Any]) -> str:
    """The run in two lines."""
    large, small = report["models"]["large"], report["models"]["small"]
    name = short(report["data"]["name"], 40)
    start = f"{name}: a net of {small['parameters']:,} parameters reaches "
    if report["task"] == "super-resolve":
        return (
            f"{start}a PSNR of {small['psnr']:.2f} dB on test images of twice the resolution,\n"
            f"taught by one of {large['parameters']:,} that reaches {large['psnr']:.2f}; bicubic "
            f"upsampling reaches {report['upsampling']['bicubic']['psnr']:.2f}"
        )
    if resolution(report) == "high":
        return (
            f"{start}{small['accuracy']:.1%} on test images,\n"
            f"taught by one of {large['parameters']:,} that reaches {large['accuracy']:.1%}"
        )
    return (
        f"{start}{small['accuracy']:.1%} on low-resolution test images,\n"
        f"taught by one of {large['parameters']:,} that reaches {large['accuracy_low']:.1%} on "
        f"them and {large['accuracy']:.1%} on high resolution"
    )


def rows(report: dict[str, Any]) -> list[list[str]]:
    """The figures of the three nets side by side: a head, and lines of a title and a cell each."""
    models, names = report["models"], nets_of(report)
    figures: list[tuple[str, Any]] = [
        ("parameters", lambda m: f"{m['parameters']:,}"),
        ("multiply-adds for one image", lambda m: f"{m['macs']:,}"),
        ("bytes", lambda m: f"{m['bytes']:,}"),
        *_quality(report),
        ("squared error to the large net's outputs", lambda m: f"{m['mse']:.4f}"),
        ("latency of 1 image, ms", lambda m: f"{m['latency_ms']['1']:.2f}"),
        ("latency of 64 images, ms", lambda m: f"{m['latency_ms']['64']:.2f}"),
        ("training, s", lambda m: f"{m['train_seconds']:.1f}" if m["train_seconds"] else "–"),
    ]
    head = ["", *names.values()]
    return [
        head,
        *([title, *(figure(models[name]) for name in names)] for title, figure in figures),
    ]


def table(report: dict[str, Any]) -> str:
    """The rows and the compression, for a terminal."""
    lines = aligned(rows(report))
    if "upsampling" in report:
        lines += ["", f"upsampling without learning: {upsampling(report)}"]
    ratios = ", ".join(f"{title} {ratio:.1f}×" for title, ratio in ratios_of(report))
    return "\n".join([*lines, "", f"compression, large ÷ small: {ratios}"])


def upsampling(report: dict[str, Any]) -> str:
    """What upsampling without learning reaches."""
    reached = report["upsampling"].items()
    return "; ".join(f"{name} {evaluate.in_words(figures)}" for name, figures in reached)


def ratios_of(report: dict[str, Any]) -> list[tuple[str, float]]:
    """How many times less the small net takes, by title."""
    compression = report["compression"]
    return [
        ("parameters", compression["parameters"]),
        ("bytes", compression["bytes"]),
        ("multiply-adds", compression["macs"]),
        ("latency of 1", compression["latency"]["1"]),
        ("latency of 64", compression["latency"]["64"]),
    ]


def _quality(report: dict[str, Any]) -> list[tuple[str, Any]]:
    """How good the nets are: titles, and what a net's figures become."""
    if report["task"] == "super-resolve":
        on = "{channel}, border {crop}".format(**report["measured_on"])
        return [
            (f"test PSNR ({on})", lambda m: f"{m['psnr']:.2f} dB"),
            (f"test SSIM ({on})", lambda m: f"{m['ssim']:.4f}"),
            ("PSNR on training images", lambda m: f"{m['train_psnr']:.2f} dB"),
        ]
    small_sees = resolution(report)

    def accuracy(sees: str) -> Callable[[dict[str, Any]], str]:
        """Of the large net, which is tested on both, and of small ones on what they are shown."""

        def cell(model: dict[str, Any]) -> str:
            if "accuracy_low" in model and sees == "low":
                return f"{model['accuracy_low']:.2%}"
            shown = "accuracy_low" in model or sees == small_sees
            return f"{model['accuracy']:.2%}" if shown else "–"

        return cell

    return [
        ("test accuracy, high resolution", accuracy("high")),
        ("test accuracy, low resolution", accuracy("low")),
        ("accuracy on training images", lambda m: f"{m['train_accuracy']:.2%}"),
        ("agreement with the large net", lambda m: f"{m['agreement']:.2%}"),
    ]
