"""How near images are to the true ones: PSNR and SSIM; and upsampling that nobody had to learn.

Images are (N, C, H, W) with values from 0 to 1. What the figures are of is declared here once: of
three channels, red, green, blue, the luma; of any other number each channel as it is, and the mean
over them. A border of CROP cells does not count, as is the custom of the super-resolution
literature (it is as wide as the factor, since methods pad it differently). Values are held within
0 and 1, those of upsampled images too, and not rounded to 8 bits.
"""

import numpy as np
from scipy import ndimage

CROP = 2  # cells at each side that do not count
HIGHEST_PSNR = 100.0  # dB, for images that are equal
WINDOW, SIGMA = 11, 1.5  # of SSIM, cells
LEAST = WINDOW + 2 * CROP  # cells each way that images need
C1, C2 = 0.01**2, 0.03**2  # of SSIM, for values from 0 to 1


def channel(channels: int) -> str:
    """What the figures are of, where images have so many channels: Y is the luma of BT.601."""
    return "Y" if channels == 3 else "each channel"


def psnr(images: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio of each image, in dB: (N, C, H, W) twice → (N,).

    Definition, with d the difference of what counts
        psnr = −10 log₁₀ mean(d²)    and at most HIGHEST_PSNR

    Raises ValueError where nothing is left within the borders, below 5×5.
    """
    difference = _compared("psnr", images, 1) - _compared("psnr", truth, 1)
    mean = (difference**2).mean(axis=(2, 3)).mean(axis=1)
    mean = np.maximum(mean, 10 ** (-HIGHEST_PSNR / 10))
    return -10 * np.log10(mean)


def ssim(images: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Structural similarity of each image, 1 for equal ones: (N, C, H, W) twice → (N,).

    Definition, with means μ, variances σ² and covariance σ_xy under a Gaussian window of 11×11
    cells with σ = 1.5, of what counts
        ssim = mean of (2 μ_x μ_y + C1)(2 σ_xy + C2) / ((μ_x² + μ_y² + C1)(σ_x² + σ_y² + C2))
    over all places of the window inside.

    Raises ValueError where the window has no place within the borders, below 15×15.

    Source: Wang, Bovik, Sheikh and Simoncelli 2004, "Image Quality Assessment: From Error
    Visibility to Structural Similarity", equation 13.
    """
    x, y = _compared("ssim", images, WINDOW), _compared("ssim", truth, WINDOW)
    mean_x, mean_y = _windowed(x), _windowed(y)
    variance_x = _windowed(x * x) - mean_x**2
    variance_y = _windowed(y * y) - mean_y**2
    covariance = _windowed(x * y) - mean_x * mean_y
    similar = (2 * mean_x * mean_y + C1) * (2 * covariance + C2)
    similar /= (mean_x**2 + mean_y**2 + C1) * (variance_x + variance_y + C2)
    return similar.mean(axis=(2, 3)).mean(axis=1)


def luma(images: np.ndarray) -> np.ndarray:
    """The brightness of RGB images, 16/255 to 235/255: (N, 3, H, W) → (N, H, W), in float64.

    Source: ITU-R BT.601, as super-resolution papers have it from MATLAB's rgb2ycbcr.
    """
    weights = np.array([65.481, 128.553, 24.966]) / 255
    return 16 / 255 + np.einsum("c,nchw->nhw", weights, images.astype(np.float64))


def bicubic(x: np.ndarray) -> np.ndarray:
    """Images twice as high and wide, by cubic convolution: (N, C, H, W) → (N, C, 2H, 2W).

    Definition, along rows and then along columns the same
        The centre of cell u of y lies at t = (u + ½)/2 − ½ in the cells of x:
        y[u] = Σ_k w(t − k) x[k] over the four cells k around t, those beyond an edge being the
        edge's, with a = −¾ and
        w(s) = (a + 2)|s|³ − (a + 3)|s|² + 1 for |s| ≤ 1,  a|s|³ − 5a|s|² + 8a|s| − 4a for |s| < 2

    Conventions: a = −¾ is PyTorch's and OpenCV's, −½ Pillow's and MATLAB's; on images averaged
    2×2, as x_low, −¾ comes nearer to the truth.

    Source: Keys 1981, "Cubic Convolution Interpolation for Digital Image Processing", equation 4.
    """
    return _cubic_weights(x.shape[2]) @ x @ _cubic_weights(x.shape[3]).T


def _cubic_weights(size: int, a: float = -0.75) -> np.ndarray:
    """The matrix (2·size, size) that interpolates along one axis."""
    at = (np.arange(2 * size) + 0.5) / 2 - 0.5
    cells = np.floor(at).astype(int)[:, None] + np.arange(-1, 3)  # the four around each
    s = np.abs(at[:, None] - cells)
    near = (a + 2) * s**3 - (a + 3) * s**2 + 1
    far = a * s**3 - 5 * a * s**2 + 8 * a * s - 4 * a
    weights = np.zeros((2 * size, size))
    rows = np.arange(2 * size)[:, None]
    np.add.at(weights, (rows, cells.clip(0, size - 1)), np.where(s <= 1, near, far))
    return weights


def _compared(figure: str, images: np.ndarray, least: int) -> np.ndarray:
    """What of images counts, as values that can be shown: (N, 1 or C, H − 2·CROP, W − 2·CROP).

    least: how many cells that must be, in height and in width.
    """
    height, width = images.shape[2:]
    if min(height, width) < least + 2 * CROP:
        raise ValueError(
            f"{figure}: images are {height}×{width}, expected at least {least + 2 * CROP} cells "
            f"each way: {least} that count between borders of {CROP}"
        )
    images = images.clip(0, 1)
    counts = luma(images)[:, None] if images.shape[1] == 3 else images.astype(np.float64)
    return counts[:, :, CROP:-CROP, CROP:-CROP]


def _windowed(images: np.ndarray) -> np.ndarray:
    """The mean under a Gaussian window wherever it lies inside."""
    distance = np.arange(WINDOW) - WINDOW // 2
    window = np.exp(-(distance**2) / (2 * SIGMA**2))
    window /= window.sum()
    for axis in (2, 3):
        images = ndimage.correlate1d(images, window, axis)
    inside = slice(WINDOW // 2, -(WINDOW // 2))
    return images[:, :, inside, inside]
