"""Minibatch descent on a batch of networks: what pretraining and encoding share."""

from __future__ import annotations

import torch
from torch import Tensor

from .optim import Adam, MuonAdam
from .siren import Siren, loss_and_gradients


class Trainer:
    """Networks, their optimizer and the arithmetic they train in; updates them in place."""

    def __init__(self, siren: Siren, optimizer: str, dtype: torch.dtype, weight_decay: float = 0.0):
        self.siren = siren
        self.dtype = dtype
        self.optimizer: Adam | MuonAdam = Adam(siren.tensors)
        if optimizer == "muon":
            self.optimizer = MuonAdam(siren.tensors, weight_decay)

    def step(self, coordinates: Tensor, values: Tensor, rate: float) -> Tensor:
        """One minibatch: ``(N or 1, n, 3)``, ``(N, n, C)``; the losses before it, ``(N,)``."""
        loss, gradients = loss_and_gradients(self.siren, coordinates, values, self.dtype)
        self.optimizer.step(gradients, rate)
        return loss


def random_generator(*seeds: int) -> torch.Generator:
    """A CPU generator for one purpose: equal seeds, equal draws, on every machine.

    One generator per round or step, not one running through, so that work continued after an
    interruption draws what an uninterrupted run would have drawn.
    """
    seed = 0
    for part in seeds:
        seed = (seed * 1_000_003 + part + 1) % (2**63 - 1)
    return torch.Generator().manual_seed(seed)
