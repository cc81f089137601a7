"""Weights on a grid: what coded step files store, and what the fit is told of it.

A weight is stored as a whole number k of steps from a reference: ``reference + k * step``. All
weights of one tensor of one network share a step, chosen by what rounding does to the output.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .siren import Siren

# A step is 2 to the (code / 8 - 24): one byte, a ratio of 1.09 between neighbours.
_FINENESS, _LOWEST = 8, -24
HIGHEST_CODE = 255
_PARTS = (1.0, 1.0905077, 1.1892071, 1.2968396, 1.4142135, 1.5422108, 1.6817928, 1.8340081)
# Largest number of steps from the reference.
LARGEST = (1 << 22) - 1
# Points on which the sensitivities are measured: of all networks, and of each.
_ALL_POINTS, _LEAST_POINTS, _MOST_POINTS = 1 << 14, 128, 2048


@dataclass(frozen=True)
class Rounding:
    """A grid of weights for ``N`` networks.

    ``reference``: weights ``(N, parameters)`` in the order of ``Siren.flat``. ``codes``: the step
    of every tensor, ``(N, tensors)`` uint8. ``steps``: the same as numbers, ``(N, parameters)``.
    ``pull``: how many steps the fit pulls every weight to its reference per unit of Muon's step.
    """

    reference: Tensor
    codes: Tensor
    steps: Tensor
    pull: float = 0.0

    @classmethod
    def of(cls, reference: Siren, codes: Tensor, pull: float = 0.0) -> Rounding:
        sizes = torch.tensor([t[0].numel() for t in reference.tensors], device=codes.device)
        steps = step_sizes(codes).repeat_interleave(sizes, dim=1)
        return cls(reference.flat(), codes, steps, pull)

    def part(self, networks: slice) -> Rounding:
        """Of some of the networks."""
        tensors = self.reference[networks], self.codes[networks], self.steps[networks]
        reference, codes, steps = (t.contiguous() for t in tensors)
        return Rounding(reference, codes, steps, self.pull)

    def numbers(self, weights: Tensor) -> Tensor:
        """k of every weight, int32, for weights ``(N, parameters)``."""
        steps = ((weights - self.reference) / self.steps).round_()
        return steps.nan_to_num_(0.0).clamp_(-LARGEST, LARGEST).int()

    def place(self, numbers: Tensor) -> Tensor:
        """The weights ``(N, parameters)`` float32 that stand for these numbers."""
        return self.reference + numbers * self.steps

    def round(self, weights: Tensor) -> Tensor:
        # What is no number stays: a fit that diverged must not look like one that is merely bad.
        return torch.where(weights.isfinite(), self.place(self.numbers(weights)), weights)

    def pulled(self, weights: Tensor, step: Tensor | float) -> Tensor:
        """Weights after the pull of a minibatch whose Muon step is ``step``."""
        most = self.steps * (self.pull * step)
        return weights - (weights - self.reference).clamp(-most, most)


def step_sizes(codes: Tensor) -> Tensor:
    """The steps that ``Rounding.codes`` stand for, float32."""
    # Exact on every machine: whole powers of two times constants.
    parts = torch.tensor(_PARTS, device=codes.device)[codes.int() % _FINENESS]
    return parts * torch.exp2((codes.int() // _FINENESS + _LOWEST).float())


@torch.no_grad()
def sensitivities(siren: Siren) -> Tensor:
    """How much the output depends on each tensor, ``(N, tensors)``.

    Mean over the tensor's weights w, over random points of [-1, 1]³ and over components, of the
    squared derivative of the output by w: the diagonal of the Gauss-Newton matrix. An error of
    variance v in each of a tensor's n weights adds v n times this to the mean squared error, to
    first order.
    """
    networks, components = siren.networks, siren.weights[-1].shape[2]
    count = min(max(_ALL_POINTS // networks, _LEAST_POINTS), _MOST_POINTS)
    generator = torch.Generator().manual_seed(0)
    points = (torch.rand(count, 3, generator=generator) * 2 - 1).to(siren.weights[0].device)
    inputs, cosines = [points.expand(networks, -1, -1)], []
    for weight, bias in zip(siren.weights[:-1], siren.biases[:-1], strict=True):
        phase = siren.omega_0 * torch.baddbmm(bias, inputs[-1], weight)
        inputs.append(phase.sin())
        cosines.append(siren.omega_0 * phase.cos())
    last = len(cosines)
    result = torch.zeros(networks, 2 * last + 2, device=points.device)
    result[:, -2] = inputs[-1].square().mean(dim=(1, 2)) / components
    result[:, -1] = 1 / components
    for component in range(components):
        back = siren.weights[-1][:, None, :, component].expand(-1, count, -1)
        for layer in range(last - 1, -1, -1):
            back = back * cosines[layer]
            squares = back.square() / components
            by_weight = torch.bmm(inputs[layer].square().mT, squares) / count
            result[:, 2 * layer] += by_weight.mean(dim=(1, 2))
            result[:, 2 * layer + 1] += squares.mean(dim=(1, 2))
            if layer:
                back = torch.bmm(back, siren.weights[layer].mT)
    return result


def choose_codes(siren: Siren, added: Tensor, hidden: bool = True) -> Tensor:
    """Codes of steps, ``(N, tensors)`` uint8, that add so much to the mean squared error.

    ``added``: ``(N,)``, in units of the networks' output, the same for all networks of a volume:
    then every weight of a volume adds equally to its error, which costs the fewest bits (reverse
    water-filling at a high rate: Cover and Thomas 2006, section 10.3). An error uniform within a
    step s has the variance s² / 12. Without ``hidden`` the hidden matrices are not rounded, as they
    are those of the reference.
    """
    rounded = (
        siren.tensors if hidden else [*siren.weights[:: len(siren.weights) - 1], *siren.biases]
    )
    parameters = sum(t[0].numel() for t in rounded)
    variance = 12 * added.clamp(min=1e-30)[:, None] / parameters
    steps = (variance / sensitivities(siren).clamp(min=1e-30)).sqrt()
    codes = (steps.log2() - _LOWEST) * _FINENESS
    return codes.round().clamp(0, HIGHEST_CODE).to(torch.uint8)
