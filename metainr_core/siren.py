"""Batches of SIREN networks and their gradients.

A SIREN (Sitzmann et al. 2020, arXiv 2006.09661) is a multilayer perceptron with sine
activations: ``h_{l+1} = sin(omega_0 (h_l W_l + b_l))``, the last layer linear. All tensors have a
leading dimension of *networks*: the bricks of a volume, the tasks of a meta-learning round, or
both. A whole-volume network is a batch of one.

``forward`` is the plain fp32 path, differentiable any number of times; it is the oracle that
``loss_and_gradients``, the hand-written first-order path used for training, is tested against.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from .config import SirenConfig


@dataclass(frozen=True)
class Siren:
    """Weights of ``N`` SIRENs of one shape.

    ``weights[l]`` is ``(N, inputs, outputs)``, ``biases[l]`` is ``(N, 1, outputs)``, float32.
    """

    weights: list[Tensor]
    biases: list[Tensor]
    omega_0: float

    @property
    def networks(self) -> int:
        return self.weights[0].shape[0]

    @property
    def tensors(self) -> list[Tensor]:
        """Weights then biases, layer by layer: the order every optimizer and file uses."""
        return [t for pair in zip(self.weights, self.biases, strict=True) for t in pair]

    @property
    def bytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in self.tensors)

    def flat(self) -> Tensor:
        """A copy of all numbers, ``(N, parameters)`` in the order of ``tensors``."""
        return torch.cat([t.detach().flatten(1) for t in self.tensors], dim=1)

    def view(self, flat: Tensor) -> Siren:
        """Networks of this shape whose tensors are views of ``flat`` ``(M, parameters)``."""
        parts = flat.split([t[0].numel() for t in self.tensors], dim=1)
        shapes = [t.shape[1:] for t in self.tensors]
        return self.with_tensors([p.unflatten(1, s) for p, s in zip(parts, shapes, strict=True)])

    def with_tensors(self, tensors: Sequence[Tensor]) -> Siren:
        """The same networks with other tensors, given in the order of ``tensors``."""
        return Siren(list(tensors[0::2]), list(tensors[1::2]), self.omega_0)

    def map(self, function: Callable[[Tensor], Tensor]) -> Siren:
        """The same networks with ``function`` applied to every tensor."""
        return self.with_tensors([function(t) for t in self.tensors])

    def clone(self) -> Siren:
        return self.map(lambda t: t.detach().clone())

    def repeat(self, networks: int) -> Siren:
        """``networks`` independent copies of a batch of one."""
        return self.map(lambda t: t.detach().expand(networks, -1, -1).clone())

    @staticmethod
    def concatenate(sirens: Sequence[Siren]) -> Siren:
        """One batch of the networks of several, which have one shape."""
        tensors = [torch.cat(t) for t in zip(*(s.tensors for s in sirens), strict=True)]
        return sirens[0].with_tensors(tensors)

    def to(self, device: torch.device) -> Siren:
        return self.map(lambda t: t.to(device))


def layer_sizes(config: SirenConfig, components: int) -> list[tuple[int, int]]:
    """Inputs and outputs of every layer."""
    return list(pairwise([3] + [config.width] * (config.hidden_layers + 1) + [components]))


def zeros(config: SirenConfig, networks: int, components: int) -> Siren:
    """Networks whose weights are all 0."""
    sizes = layer_sizes(config, components)
    weights = [torch.zeros(networks, i, o) for i, o in sizes]
    return Siren(weights, [torch.zeros(networks, 1, o) for _, o in sizes], config.omega_0)


def initialize(
    config: SirenConfig,
    networks: int,
    components: int,
    generator: torch.Generator,
    shape: tuple[int, int, int] = (1, 1, 1),
) -> Siren:
    """Random weights for ``networks`` SIRENs from 3 coordinates to ``components`` values.

    ``shape``: (nz, ny, nx) voxels of what one network learns. Hidden weights are uniform in
    ±sqrt(6 / n) / omega_0 and first-layer weights in ±``first_ranges`` / 3.
    """
    weights, biases = [], []
    for layer, (inputs, outputs) in enumerate(layer_sizes(config, components)):
        bound = torch.tensor(math.sqrt(6 / inputs) / config.omega_0)
        if layer == 0:
            bound = torch.tensor(first_ranges(config, shape))[:, None] / inputs
        draw = torch.rand(networks, inputs + 1, outputs, generator=generator) * 2 - 1
        weights.append(draw[:, :inputs] * bound)
        # PyTorch's default bias range, which the published SIREN code leaves in place.
        biases.append(draw[:, inputs:] * (1 / math.sqrt(inputs)))
    return Siren(weights, biases, config.omega_0)


def first_ranges(config: SirenConfig, shape: tuple[int, int, int]) -> tuple[float, ...]:
    """Ranges of the first layer's weights for x, y, z, relative to those of Sitzmann et al. 2020.

    ``first_scale`` for all, or, if that is 0, in proportion to the voxels along each axis, so
    that a thin axis does not start with frequencies that its few voxels cannot have; at most 1.
    """
    if config.first_scale:
        return (config.first_scale,) * 3
    # A brick shows a part of the volume's frequencies.
    cube = 0.25 if config.brick_size else 0.5
    mean = math.prod(shape) ** (1 / 3)
    return tuple(min(cube * n / mean, 1.0) for n in reversed(shape))


def forward(siren: Siren, coordinates: Tensor) -> Tensor:
    """Values ``(N, n, components)`` at ``coordinates`` ``(N or 1, n, 3)`` in [-1, 1], fp32."""
    last = len(siren.weights) - 1
    hidden = coordinates
    for layer, (weight, bias) in enumerate(zip(siren.weights, siren.biases, strict=True)):
        hidden = hidden @ weight + bias
        if layer < last:
            hidden = torch.sin(siren.omega_0 * hidden)
    return hidden


def mean_squared_errors(siren: Siren, coordinates: Tensor, values: Tensor) -> Tensor:
    """Mean squared error of each network, shape ``(N,)``; ``values`` is ``(N, n, components)``."""
    return (forward(siren, coordinates) - values).square().mean(dim=(1, 2))


@torch.no_grad()
def loss_and_gradients(
    siren: Siren, coordinates: Tensor, values: Tensor, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, list[Tensor]]:
    """Mean squared error ``(N,)`` of each network and its gradients, by hand-written backprop.

    ``dtype`` is that of the products and activations, but for the first layer's phase and the
    last layer's error, which are float32, as are losses and gradients when they are returned.
    Gradients come in the order of ``Siren.tensors``. Faster than autograd (1.4 to 2 times in bf16,
    64×3 on a CPU) because nothing is recorded and cosines are kept, not recomputed.
    """
    omega, count = siren.omega_0, len(siren.weights)
    networks = siren.networks
    # Phase = omega_0 (h W + b): folding omega_0 into W and b saves a pass over the activations.
    low = [(omega * w).to(dtype) for w in siren.weights[1:-1]]
    inputs: list[Tensor] = []
    cosines: list[Tensor] = []
    shared = coordinates.expand(networks, -1, -1)
    phase = torch.baddbmm(omega * siren.biases[0], shared, omega * siren.weights[0])
    for layer in range(count - 1):
        if layer > 0:
            bias = (omega * siren.biases[layer]).to(dtype)
            phase = torch.baddbmm(bias, inputs[-1], low[layer - 1])
        inputs.append(torch.sin(phase).to(dtype))
        cosines.append(torch.cos(phase).to(dtype))
    last = siren.weights[-1].to(dtype)
    output = torch.bmm(inputs[-1], last).float() + siren.biases[-1]
    error = output - values
    loss = error.square().mean(dim=(1, 2))

    delta = error * (2 / error[0].numel())
    gradients: list[Tensor] = [delta.sum(1, keepdim=True)]
    low_delta = delta.to(dtype)
    gradients.append(torch.bmm(inputs[-1].mT, low_delta).float())
    back = torch.bmm(low_delta, last.mT)
    for layer in range(count - 2, -1, -1):
        back.mul_(cosines[layer])
        # omega_0 enters once here for layer's own W and b; below it sits in ``low`` already.
        gradients.append(back.sum(1, keepdim=True).float() * omega)
        source = inputs[layer - 1] if layer > 0 else shared.to(dtype)
        gradients.append(torch.bmm(source.mT, back).float() * omega)
        if layer > 0:
            back = torch.bmm(back, low[layer - 1].mT)
    return loss, gradients[::-1]
