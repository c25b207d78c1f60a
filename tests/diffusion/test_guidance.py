"""Guidance against closed forms on a normal, with a linear classifier whose gradient is known."""

import pytest
import torch

from synthplanes.diffusion.denoiser import Conditions
from synthplanes.diffusion.guidance import GuidedDenoiser
from tests.tiny_generator import SAMPLE

MEANS, DEVIATION = torch.tensor([-1.0, 1.5], dtype=torch.float64), 0.2
CONDITIONS = Conditions(torch.tensor([0, 1]), torch.tensor([0, 0]), torch.zeros(2, 6))


class LinearDenoiser(torch.nn.Module):
    """D = x / 2 with a known class, x / 4 without."""

    class configuration:
        classes = ("a", "b")

    def forward(self, x, sigma, conditions):
        return torch.where(conditions.label.view(-1, 1, 1, 1) < 2, x / 2, x / 4)


class EarlyDenoiser(torch.nn.Module):
    """D' = x / 3, an earlier and poorer estimate."""

    def forward(self, x, sigma, conditions):
        return x / 3


class LinearGuide(torch.nn.Module):
    """Two classes with logits (sum of pixels, 0)."""

    def __init__(self, takes_estimate=False):
        super().__init__()
        self.takes_estimate = takes_estimate

    def forward(self, x, sigma):
        total = x.sum(dim=(1, 2, 3))
        return torch.stack([total, torch.zeros_like(total)], dim=1)


def image():
    return torch.arange(8, dtype=torch.float32).view(2, 1, 2, 2) / 10


def guided(kind, scale=3.0, interval=(0.0, 10.0), takes_estimate=False):
    guide = EarlyDenoiser() if kind == "auto" else LinearGuide(takes_estimate)
    return GuidedDenoiser(LinearDenoiser(), CONDITIONS, sample(kind, scale, interval), guide)


def sample(kind, scale, interval=(0.0, 10.0)):
    return SAMPLE.model_copy(update=dict(guidance=kind, guidance_scale=scale, guidance_interval=list(interval)))


def test_classifier_free_extrapolates():
    x = image()
    assert torch.allclose(guided("classifier_free")(x, 1.0), x / 4 + 3.0 * (x / 2 - x / 4))


def test_auto_extrapolates_from_the_early_average():
    x = image()
    assert torch.allclose(guided("auto")(x, 1.0), x / 3 + 3.0 * (x / 2 - x / 3))


def test_classifier_adds_sigma_squared_times_the_gradient():
    x, sigma = image(), 0.5
    total = x.sum(dim=(1, 2, 3))
    p_a = torch.sigmoid(total)
    gradient = torch.stack([1 - p_a[0], -p_a[1]])  # d log p(a)/dx = 1 - p(a); d log p(b)/dx = -p(a)
    expected = x / 2 + 3.0 * sigma ** 2 * gradient.view(2, 1, 1, 1)
    assert torch.allclose(guided("classifier")(x, sigma), expected, atol=1e-6)


def test_through_the_estimate_the_gradient_is_taken_at_it_and_carried_back():
    """The chain rule in closed form: without a class D = x / 4, so the gradient at D(x) comes back as a quarter."""
    x, sigma = image(), 0.5
    p_a = torch.sigmoid(x.sum(dim=(1, 2, 3)) / 4)
    gradient = torch.stack([1 - p_a[0], -p_a[1]]) / 4
    found = guided("classifier", takes_estimate=True)
    assert torch.allclose(found(x, sigma), x / 2 + 3.0 * sigma ** 2 * gradient.view(2, 1, 1, 1), atol=1e-6)
    assert found.passes == {"forward": 2, "trained": 4}


class MixtureDenoiser(torch.nn.Module):
    """E[y | x; sigma] for y from an even mixture of two normals, deaf to the class."""

    class configuration:
        classes = ("a", "b")

    def forward(self, x, sigma, conditions):
        variance = DEVIATION ** 2 + sigma.view(-1, 1, 1, 1, 1) ** 2
        responsibility = (-(x[..., None] - MEANS) ** 2 / (2 * variance)).softmax(-1)
        return (responsibility * (MEANS + DEVIATION ** 2 / variance * (x[..., None] - MEANS))).sum(-1)


class ExactGuide(torch.nn.Module):
    """p(y | x; sigma) of that mixture, for images of one pixel."""

    takes_estimate = False

    def forward(self, x, sigma):
        return -(x.view(-1, 1) - MEANS) ** 2 / (2 * (DEVIATION ** 2 + sigma.view(-1, 1) ** 2))


class ExactGuideOnEstimates(torch.nn.Module):
    """p(y | D(x; sigma); sigma): D grows with x, so it is p(y | x; sigma) at the x that D came from (by bisection).

    Its derivative is the closed form's, by the inverse's: d x / d D = 1 / (d D / d x).
    """

    takes_estimate = True

    def forward(self, estimate, sigma):
        with torch.no_grad():
            low, high = torch.full_like(estimate, -50.0), torch.full_like(estimate, 50.0)
            for _ in range(80):
                middle = (low + high) / 2
                above = MixtureDenoiser()(middle, sigma, None) > estimate
                low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        with torch.enable_grad():
            x = ((low + high) / 2).requires_grad_(True)
            slope, = torch.autograd.grad(MixtureDenoiser()(x, sigma, None).sum(), x)
        return ExactGuide()(x.detach() + (estimate - estimate.detach()) / slope, sigma)


@pytest.mark.parametrize("guide", [ExactGuide(), ExactGuideOnEstimates()], ids=["noisy_image", "denoised_estimate"])
@pytest.mark.parametrize("sigma", [0.05, 0.4, 3.0])
@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_the_exact_classifier_makes_of_a_mixture_its_component(sigma, scale, guide):
    """By Bayes the guided estimate is that of the class's own normal at scale 1, and extrapolates to it beyond."""
    x = torch.linspace(-2, 2, 8, dtype=torch.float64).view(-1, 1, 1, 1)
    label = torch.arange(8) % 2
    conditions = Conditions(label, torch.zeros(8, dtype=torch.int64), torch.zeros(8, 6))
    found = GuidedDenoiser(MixtureDenoiser(), conditions, sample("classifier", scale), guide)(x, sigma)
    mean = MEANS[label].view(-1, 1, 1, 1)
    component = mean + DEVIATION ** 2 / (DEVIATION ** 2 + sigma ** 2) * (x - mean)
    mixture = MixtureDenoiser()(x, torch.full((8,), sigma, dtype=torch.float64), conditions)
    assert torch.allclose(found, mixture + scale * (component - mixture), atol=1e-5)


def test_no_guidance_outside_the_interval_nor_without_a_kind():
    x = image()
    assert torch.equal(guided("classifier", interval=(0.6, 10.0))(x, 0.5), x / 2)
    assert torch.equal(guided("none")(x, 0.5), x / 2)


def test_passes_are_counted():
    one = guided("classifier_free", interval=(0.4, 10.0))
    one(image(), 0.5), one(image(), 0.1)
    assert one.passes["forward"] == 2 * 2 + 2
