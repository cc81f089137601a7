"""LPIPS: how different two pictures look (Zhang et al., arXiv 1801.03924), by package ``lpips``.

The package brings its linear heads. The backbone, torchvision's classifier trained on ImageNet, is
read from a file: nothing is ever downloaded.
"""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from .errors import DAMAGE, LpipsError, MetaINRError, SettingsError
from .extras import extra

# LPIPS's name of a backbone: torchvision's name of the weights that the package was fitted to.
_WEIGHTS = {"alex": "AlexNet_Weights", "vgg": "VGG16_Weights", "squeeze": "SqueezeNet1_1_Weights"}
BACKBONES = tuple(_WEIGHTS)
_SMALLEST = 32  # pixels: smaller pictures do not survive the backbones' pooling


class Lpips:
    """The LPIPS distance, version 0.1 of its heads: 0 for equal pictures, larger is worse.

    net: ``alex`` (the published default), ``vgg`` or ``squeeze``. backbone: a state dict of
    torchvision's AlexNet, VGG16 or SqueezeNet 1.1, as ``.pth`` or ``.safetensors``; by default the
    file that torchvision would have left in PyTorch's cache.

    Raises LpipsError when a package or the file is missing, or the file holds something else.
    """

    def __init__(self, net: str = "alex", backbone: Path | str | None = None):
        if net not in _WEIGHTS:
            raise SettingsError(f"LPIPS net is {net!r}; expected one of {', '.join(BACKBONES)}")
        package = _package()
        path = find_backbone(net) if backbone is None else Path(backbone)
        tensors = _read(path)
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")  # its arguments to torchvision are deprecated
            # Random weights: anything else would be downloaded. All of them are replaced.
            self._model = package.LPIPS(net=net, pnet_rand=True, verbose=False)
        self._to_tensor = package.im2tensor
        _fill(self._model.net, tensors, f"{path} is not the backbone of LPIPS's net {net!r}")

    def __call__(self, a: np.ndarray, b: np.ndarray) -> float:
        """Of two pictures uint8 (height, width, 3), sRGB."""
        if a.shape != b.shape:
            raise SettingsError(f"pictures have shapes {a.shape} and {b.shape}; expected the same")
        with torch.inference_mode():
            # The package's own conversion: float32 (1, 3, height, width) from -1 to 1.
            inputs = [self._to_tensor(_checked(picture)) for picture in (a, b)]
            return float(self._model(*inputs))


def find_backbone(net: str) -> Path:
    """The backbone's file in PyTorch's cache. Raises LpipsError where there is none."""
    _package()
    url = getattr(sys.modules["torchvision.models"], _WEIGHTS[net]).IMAGENET1K_V1.url
    path = Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])
    if not path.is_file():
        raise LpipsError(
            f"LPIPS needs the backbone's weights in {path}, which does not exist;"
            f" download {url} to there, or name a file that has them"
        )
    return path


def _checked(picture: np.ndarray) -> np.ndarray:
    fits = picture.ndim == 3 and picture.shape[2] == 3 and min(picture.shape[:2]) >= _SMALLEST
    if picture.dtype != np.uint8 or not fits:
        raise SettingsError(
            f"picture for LPIPS is {picture.dtype} {picture.shape}; expected uint8"
            f" (height, width, 3), at least {_SMALLEST} pixels wide and high"
        )
    return picture


def _read(path: Path) -> Mapping[str, Tensor]:
    """The tensors in a ``.pth`` or ``.safetensors``, without running anything that is in it."""
    if not path.is_file():
        raise LpipsError(f"LPIPS backbone {path} does not exist")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, UnpicklingError, SafetensorError, *DAMAGE) as e:
        reason = " ".join(str(e).split())[:120] or type(e).__name__
        raise LpipsError(
            f"LPIPS backbone {path} cannot be read ({reason}); fetch it again: it is damaged, or no"
            " state dict of tensors"
        ) from e
    return content if isinstance(content, Mapping) else {}


def _fill(net: torch.nn.Module, tensors: Mapping[str, Tensor], complaint: str) -> None:
    """Put torchvision's ``features.N.*`` into the slices that LPIPS cuts its backbone into."""
    found = {}
    for name, parameter in net.state_dict().items():
        source = "features." + name.partition(".")[2]  # without "sliceK."
        tensor = tensors.get(source)
        if not isinstance(tensor, Tensor) or tensor.shape != parameter.shape:
            got = f"of shape {tuple(tensor.shape)}" if isinstance(tensor, Tensor) else "missing"
            raise LpipsError(
                f"{complaint}: {source} is {got}, expected shape {tuple(parameter.shape)}"
            )
        found[name] = tensor
    net.load_state_dict(found)


@functools.cache
def _package() -> Any:
    """Package ``lpips``, and torchvision, which it needs."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _import_torchvision()
            return extra("lpips", "LPIPS")
    except MetaINRError as error:
        raise LpipsError(str(error)) from error


_DECLARED: list[torch.library.Library] = []  # declarations live as long as their library


def _import_torchvision() -> None:
    try:
        extra("torchvision", "LPIPS")
    except RuntimeError as error:
        # PyPI's torchvision is built for PyTorch with CUDA. Beside the CPU build its compiled part
        # does not load, and describing two of that part's operators fails. No backbone uses them,
        # so that it is enough if they are declared.
        if "torchvision::" not in str(error) or _DECLARED:
            raise LpipsError(
                f"LPIPS needs torchvision, which cannot be imported: {error}"
            ) from error
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]  # what the failed import has left behind
        library = torch.library.Library("torchvision", "DEF")
        _DECLARED.append(library)
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _import_torchvision()
