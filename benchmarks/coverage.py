"""How often the intervals of a study hold the truth: simulated studies.

    python -m benchmarks.coverage [--studies 10000] [--write]

Two nets answer 1,000 test images, right or wrong, as nets do: some images are harder than others,
some harder for one net than for the other; a seed makes a net a little better or worse on all. The
true difference is 0. The seeds' share of the variance of the difference runs from none to nearly
all.
"""

import argparse
from pathlib import Path

import numpy as np

from benchmarks import figures
from npkd.study.analysis import over_seeds, over_seeds_and_images

KEPT = Path(__file__).parent / "results" / "coverage.md"
IMAGES = 1000
SEEDS = (3, 5, 10)
OF_SEEDS = {"none": 0.0, "small": 0.03, "alike": 0.1, "dominant": 0.5}  # deviations of logits
OF_IMAGES = {"alike for both nets": 0.0, "of each net": 0.5}
ABOVE = """# Coverage of a study's intervals

By `python -m benchmarks.coverage --write`: how many of 100 simulated studies have the truth in
their 95 % interval. "Seeds alone" is Student's interval over seeds, which is for the same images.

"""


def differences(
    rng: np.random.Generator, seeds: int, of_seeds: float, of_images: float
) -> np.ndarray:
    """What one net has right less what the other has, (seeds, images)."""
    difficulty = 1 + 1.5 * rng.standard_normal(IMAGES)
    own = of_images * rng.standard_normal((2, 1, IMAGES))
    luck = of_seeds * rng.standard_normal((2, seeds, 1))
    right = difficulty + own + luck + 0.7 * rng.standard_normal((2, seeds, IMAGES)) > 0
    return right[0].astype(float) - right[1]


def coverage(studies: int, seeds: int, of_seeds: float, of_images: float) -> tuple[float, float]:
    """Shares of studies whose interval holds 0: by seeds and images, and by seeds alone."""
    rng = np.random.default_rng(0)
    held = np.zeros(2)
    for _ in range(studies):
        y = differences(rng, seeds, of_seeds, of_images)
        for number, interval in enumerate((over_seeds_and_images(y), over_seeds(y.mean(axis=1)))):
            assert interval.half is not None
            held[number] += abs(interval.mean) <= interval.half
    return float(held[0] / studies), float(held[1] / studies)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage")
    parser.add_argument("--studies", type=int, default=10_000, metavar="N", help="(10000)")
    parser.add_argument("--write", action="store_true", help=f"keep the table in {KEPT.name}")
    args = parser.parse_args()
    head = ("images' share", "seeds' share", "seeds", "seeds and images, %", "seeds alone, %")
    lines = [figures.row(head), figures.row(["---"] * len(head))]
    print(*lines, sep="\n")
    for images, of_images in OF_IMAGES.items():
        for share, of_seeds in OF_SEEDS.items():
            for seeds in SEEDS:
                held = coverage(args.studies, seeds, of_seeds, of_images)
                shares = (f"{100 * one:.1f}" for one in held)
                lines.append(figures.row([images, share, str(seeds), *shares]))
                print(lines[-1], flush=True)
    if args.write:
        KEPT.write_text(ABOVE + "\n".join(lines) + "\n", "utf-8")
        figures.note("coverage")


if __name__ == "__main__":
    main()
