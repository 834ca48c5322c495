"""To super-resolve: to make an image in full resolution of one in low resolution."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from npkd import losses, ops
from npkd.data import Dataset, Images, Normalisation
from npkd.distill.config import Config
from npkd.distill.outputs import Outputs, batches_of
from npkd.distill.tasks import quality
from npkd.distill.tasks.task import MOST_SAMPLES, Figures, Task, brought_back, spread, written
from npkd.nets import Conv2d, Function, Layer, Network
from npkd.ops.contract import Pair, pair


class _SuperResolver(Network):
    """The shape that both nets for super-resolution have: x_low C×H×W → x_high C×2H×2W.

    Three convolutions work on the small image; the last one makes a channel for each of the 2×2
    cells that a cell becomes, and a pixel shuffle puts these in their places.

    rng: a np.random.Generator or a seed. image_size: H and W.

    Source: ESPCN, Shi et al. 2016, "Real-Time Single Image and Video Super-Resolution Using an
    Efficient Sub-Pixel Convolutional Neural Network", with ReLU for tanh.
    """

    channels: tuple[int, int]
    stages = ("relu1", "relu2")
    vector = "relu2"

    def __init__(
        self,
        rng: np.random.Generator | int,
        *,
        in_channels: int = 3,
        image_size: Pair = 16,
        dtype: Any = np.float32,
    ):
        height, width = pair(type(self).__name__, "image_size", image_size, 1)
        first, second = self.channels
        layers: dict[str, Layer] = {
            "conv1": Conv2d(in_channels, first, 5, padding=2),
            "relu1": Function(ops.relu),
            "conv2": Conv2d(first, second, 3, padding=1),
            "relu2": Function(ops.relu),
            "conv3": Conv2d(second, in_channels * 2**2, 3, padding=1),
            "shuffle": Function(ops.pixel_shuffle, 2),
        }
        super().__init__(layers, (in_channels, height, width), rng, dtype)


class LargeSuperResolver(_SuperResolver):
    """64 and 32 channels: 26,796 parameters for C = 3, as ESPCN has them for colour images."""

    channels = (64, 32)


class SmallSuperResolver(_SuperResolver):
    """16 and 8 channels: 3,252 parameters for C = 3, 8.2 times fewer."""

    channels = (16, 8)


class SuperResolve(Task):
    """Make an image in full resolution of one in low resolution. The truth is the image itself.

    The document's text: "generates high-resolution images from low-resolution ones". Both nets take
    x_low; outputs and truth are normalised as x_high is. Images are flipped as their data set has
    it, and not shifted: the black that comes in at the edges is sharper than anything else, and
    would be most of the loss.

    Raises ValueError also for images that are too small for `quality.ssim`.
    """

    figures = ("psnr", "ssim")
    loss_name = "l2"
    takes_high = False
    truth_name = "the true images"
    first_step = "train the large net to make high-resolution images of low-resolution ones"

    def __init__(self, dataset: Dataset, config: Config, normalise: Normalisation | None = None):
        super().__init__(dataset, config, normalise)
        self.augmentation = replace(dataset.augmentation, shift=0)
        if self.image_shape[-1] < quality.LEAST:
            raise ValueError(
                f"data has images of {written(self.image_shape)}, expected {quality.LEAST} cells "
                "or more each way to super-resolve, as SSIM takes them"
            )

    def network(self, setting: str, classes: int, rng: Any) -> Network:
        """Both have the same shape, the large one eight times the parameters."""
        made = {"large": LargeSuperResolver, "small": SmallSuperResolver}[setting]
        return made(rng, in_channels=self.image_shape[0], image_size=self.image_shape[-1] // 2)

    @property
    def truth_shape(self) -> tuple[int, ...]:
        """An image."""
        return self.image_shape

    def truth(self, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The images in full resolution."""
        return self.x_high(images)

    def loss(self, y: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """½‖y − x_high‖²."""
        return losses.l2(y, truth)

    def measure(self, y: np.ndarray, truth: np.ndarray) -> Figures:
        """PSNR and SSIM of the pictures."""
        images, true = self.pictures(y), self.pictures(truth)
        return {"psnr": quality.psnr(images, true), "ssim": quality.ssim(images, true)}

    def pictures(self, y: np.ndarray) -> np.ndarray:
        """Outputs as images from 0 to 1, as far as these can show them."""
        std, mean = self.normalise.std[:, None, None], self.normalise.mean[:, None, None]
        return (y * std + mean).clip(0, 1)

    def more(self, images: Images) -> dict[str, Any]:
        """What the figures are of, and those of upsampling that nobody had to learn."""
        found: dict[str, list[Figures]] = {name: [] for name in UPSAMPLINGS}
        for part in batches_of(len(images)):
            truth, x_low = self.x_high(images[part]), self.x_low(images[part])
            for name, upsample in UPSAMPLINGS.items():
                found[name].append(self.measure(upsample(x_low), truth))
        upsampling = {
            name: {
                figure: float(np.mean(np.concatenate([of[figure] for of in parts])))
                for figure in self.figures
            }
            for name, parts in found.items()
        }
        measured_on = {"channel": quality.channel(self.image_shape[0]), "crop": quality.CROP}
        return {"measured_on": measured_on, "upsampling": upsampling}

    def samples(
        self,
        images: Images,
        labels: np.ndarray,
        outputs: Mapping[str, Outputs],
        measured: Mapping[str, Figures],
    ) -> dict[str, np.ndarray]:
        """Images from the small net's worst to its best, and those where the nets differ most.

        images/NAME: what the nets make of the chosen images, and bicubic upsampling, (M, C, N, N)
        as stored images are; images/x_low (M, C, N/2, N/2). psnr/NET: of all test images (N,).
        """
        order = np.argsort(measured["small"]["psnr"], kind="stable")
        firsts = order[spread(len(order), MOST_SAMPLES)]
        by_how_much = np.abs(measured["large"]["psnr"] - measured["small"]["psnr"])
        by_how_much[firsts] = 0
        differ = np.argsort(-by_how_much, kind="stable")[: len(order) - len(firsts)][:MOST_SAMPLES]
        chosen = np.concatenate([firsts, differ])
        x_low = self.x_low(images[chosen])
        made = {name: y[chosen] for name, y in outputs.items()}
        made |= {"x_low": x_low, "bicubic": quality.bicubic(x_low)}
        return {
            "chosen": chosen,
            "firsts": firsts,
            "x_high": images[chosen],
            **{
                f"images/{name}": (255 * self.pictures(y)).round().astype(np.uint8)
                for name, y in made.items()
            },
            **{f"psnr/{name}": figures["psnr"] for name, figures in measured.items()},
        }


UPSAMPLINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "nearest": brought_back,
    "bilinear": lambda x_low: ops.upsample(x_low, 2, "bilinear")[0],
    "bicubic": quality.bicubic,
}
