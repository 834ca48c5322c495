"""distill.tasks.quality: PSNR and SSIM are their definitions, bicubic what is known as that."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npkd.distill.tasks import quality

seeds = st.integers(0, 2**32 - 1)


def pair(seed):
    """Some images, and others like them."""
    rng = np.random.default_rng(seed)
    truth = rng.random((3, 3, 20, 18))
    return np.clip(truth + rng.normal(0, rng.random() / 3, truth.shape), -0.2, 1.2), truth


@given(seed=seeds)
def test_psnr_is_its_definition_on_the_lumas_inside(seed):
    images, truth = pair(seed)
    for image, true, found in zip(images, truth, quality.psnr(images, truth), strict=True):
        total = count = 0.0
        for i in range(2, 18):
            for j in range(2, 16):
                r, g, b = image[:, i, j].clip(0, 1) - true[:, i, j]
                total += ((65.481 * r + 128.553 * g + 24.966 * b) / 255) ** 2
                count += 1
        np.testing.assert_allclose(found, -10 * np.log10(total / count), rtol=1e-10)


@given(seed=seeds)
def test_ssim_is_its_definition_window_by_window(seed):
    images, truth = pair(seed)
    distance = np.arange(11) - 5
    window = np.exp(-(distance[:, None] ** 2 + distance**2) / (2 * 1.5**2))
    window /= window.sum()
    lumas = (quality.luma(array.clip(0, 1))[:, 2:-2, 2:-2] for array in (images, truth))
    for x, y, found in zip(*lumas, quality.ssim(images, truth), strict=True):
        values = []
        for i in range(x.shape[0] - 10):
            for j in range(x.shape[1] - 10):
                a, b = x[i : i + 11, j : j + 11], y[i : i + 11, j : j + 11]
                mean_a, mean_b = (window * a).sum(), (window * b).sum()
                var_a, var_b = (
                    (window * (a - mean_a) ** 2).sum(),
                    (window * (b - mean_b) ** 2).sum(),
                )
                both = (window * (a - mean_a) * (b - mean_b)).sum()
                values.append(
                    (2 * mean_a * mean_b + 1e-4)
                    * (2 * both + 9e-4)
                    / ((mean_a**2 + mean_b**2 + 1e-4) * (var_a + var_b + 9e-4))
                )
        np.testing.assert_allclose(found, np.mean(values), rtol=1e-8)


def test_equal_images_are_as_near_as_can_be():
    images, _ = pair(0)
    np.testing.assert_allclose(quality.ssim(images, images), 1)
    np.testing.assert_array_equal(quality.psnr(images, images), quality.HIGHEST_PSNR)


@pytest.mark.parametrize(
    ("figure", "name", "least"), [(quality.psnr, "psnr", 5), (quality.ssim, "ssim", 15)]
)
def test_images_of_which_nothing_would_count_are_refused(figure, name, least):
    enough = np.full((2, 3, least, least), 0.5)
    np.testing.assert_allclose(figure(enough, enough), figure(*2 * [np.full((2, 3, 20, 18), 0.5)]))
    for size in ((least - 1, 20), (20, least - 1), (1, 1), (0, 20)):
        few, message = np.zeros((2, 3, *size)), f"{name}: images are {size[0]}×{size[1]}, expected"
        with pytest.raises(ValueError, match=f"^{message} at least {least} cells each way"):
            figure(few, few)


def test_the_border_does_not_count():
    images, truth = pair(1)
    framed = images.copy()
    framed[..., :2], framed[..., -2:], framed[:, :, :2], framed[:, :, -2:] = 0, 1, 0, 1
    for figure in (quality.psnr, quality.ssim):
        np.testing.assert_array_equal(figure(framed, truth), figure(images, truth))


def test_luma_goes_from_16_to_235():
    black, white = np.zeros((1, 3, 1, 1)), np.ones((1, 3, 1, 1))
    np.testing.assert_allclose(quality.luma(black), 16 / 255)
    np.testing.assert_allclose(quality.luma(white), 235 / 255)


@settings(deadline=None)  # the first example imports PyTorch
@given(seed=seeds, height=st.integers(1, 9), width=st.integers(1, 9))
def test_bicubic_is_pytorchs(seed, height, width):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(seed).standard_normal((2, 3, height, width))
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(x), scale_factor=2, mode="bicubic", align_corners=False
    )
    np.testing.assert_allclose(quality.bicubic(x), expected, atol=1e-12)


def test_bicubic_keeps_what_is_constant_and_the_mean_of_what_is_linear():
    np.testing.assert_allclose(quality.bicubic(np.full((1, 1, 5, 4), 0.3)), 0.3)
    ramp = np.arange(8.0)[None, None, None].repeat(8, axis=2)
    inside = quality.bicubic(ramp)[0, 0, 8, 4:12]
    np.testing.assert_allclose(inside.mean(), ramp[0, 0, 0, 2:6].mean())
