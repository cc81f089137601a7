"""The prior: initial weights learned from a sparse sample of a series."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .config import PretrainConfig, SirenConfig
from .errors import DAMAGE, MetaINRError, PriorError, SettingsError
from .hashing import fingerprint
from .records import check_name
from .rounding import Rounding, choose_codes
from .series import Range
from .siren import Siren
from .storage import load_siren, metadata_of, siren_tensors, tensor_bytes
from .tensor_file import TensorFile
from .weights import pack, unpack
from .writing import make_folder, write_atomically

FORMAT_VERSION = 3
# What rounding an archive's copy adds to the mean squared error of its output, whose values are
# in [-1, 1]: 46 dB, much less than a fit takes away.
_ROUNDING_ERROR = 1e-4
_CURE = "choose a file that Meta-INR Pretrain or metainr pretrain wrote"


@dataclass(frozen=True)
class Prior:
    """Initial weights for the networks of one variable.

    ``siren``: a batch of one network, used for every brick of every step. ``value_range``: what
    is mapped to [-1, 1], per component. ``voxel_share``: share of the series' voxels that the
    weights were trained on; the value range is that of whole steps (``sampling.draw_samples``).
    ``history``: one row per outer round with ``round``, ``loss_before`` and ``loss_after`` (mean
    squared error in normalised units before and after the inner loop, mean over the round's
    tasks) and ``seconds`` since the start. ``fingerprint``: of the settings and the sampled data.
    ``outer_state``: the outer optimizer's, while training is unfinished. ``codes``: the steps
    (``Rounding``) of a copy that is stored coded.
    """

    siren: Siren
    siren_config: SirenConfig
    config: PretrainConfig
    array: str
    components: int
    value_range: Range
    voxel_share: float
    history: list[dict[str, float]]
    fingerprint: str
    outer_state: dict[str, Siren] = field(default_factory=dict)
    codes: Tensor | None = None

    @property
    def kind(self) -> str:
        """``meta``, or ``pretrained`` when there was no inner loop."""
        return "pretrained" if self.config.outer == "pooled" else "meta"

    @property
    def finished(self) -> bool:
        return len(self.history) >= self.config.outer_steps

    @property
    def digest(self) -> str:
        """Fingerprint of the weights."""
        return fingerprint(*(t.cpu().numpy() for t in self.siren.tensors))

    def rounded(self) -> Prior:
        """A copy whose weights can be coded in few bytes, without its training history.

        An archive keeps such a one if its steps are stored as differences to it.
        """
        codes = choose_codes(self.siren, torch.tensor([_ROUNDING_ERROR]))
        rounding = Rounding.of(self.siren.map(torch.zeros_like), codes)
        siren = self.siren.view(rounding.round(self.siren.flat()))
        return dataclasses.replace(self, siren=siren, codes=codes, history=[], outer_state={})

    def metadata(self) -> dict[str, Any]:
        """All but the weights, JSON-able."""
        return {
            "kind": "prior",
            "version": FORMAT_VERSION,
            "array": self.array,
            "components": self.components,
            "value_range": asdict(self.value_range),
            "siren": self.siren_config.to_json(),
            "config": self.config.to_json(),
            "voxel_share": self.voxel_share,
            "fingerprint": self.fingerprint,
            "history": self.history,
            "outer_state": sorted(self.outer_state),
            "weights": "float32" if self.codes is None else "coded",
        }

    def save(self, path: str | Path) -> None:
        """Writes the prior atomically. Raises ArchiveError when that cannot be."""
        path = Path(path)
        make_folder(path.parent)
        write_atomically(path, self.to_bytes())

    def to_bytes(self) -> bytes:
        """The file that ``save`` writes."""
        metadata = self.metadata()
        tensors = pack(self.siren, metadata["weights"], None, self.codes)
        for name, state in self.outer_state.items():
            tensors |= siren_tensors(state, name + ".")
        return tensor_bytes(tensors, metadata)

    @classmethod
    def load(cls, path: str | Path, *, linked: bool = True) -> Prior:
        """Reads a prior. Raises PriorError when the file is none or is damaged.

        ``linked``: see ``TensorFile``.
        """
        path = Path(path)
        try:
            file = TensorFile.read(path, linked=linked)
            data = metadata_of(path, file.metadata)
            _check_kind(path, data)
            siren_config = SirenConfig.from_json(data["siren"])
            components = int(data["components"])
            # The first to notice components that no file has room for.
            value_range = Range.from_json(data["value_range"], components)
            prior = cls(
                siren=unpack(file, data.get("weights", "float32"), siren_config, components, 1),
                siren_config=siren_config,
                config=PretrainConfig.from_json(data["config"]),
                array=str(data["array"]),
                components=components,
                value_range=value_range,
                voxel_share=float(data["voxel_share"]),
                history=[{str(k): float(v) for k, v in row.items()} for row in data["history"]],
                fingerprint=str(data["fingerprint"]),
                outer_state={
                    name: load_siren(file, siren_config, components, 1, name + ".")
                    for name in data["outer_state"]
                },
            )
            check_name(prior.array)
        except PriorError:
            raise
        except SettingsError as error:
            raise PriorError(f"prior {path} is damaged or newer: {error}") from error
        except MetaINRError as error:
            raise PriorError(f"no prior: {error}; {_CURE}") from error
        except DAMAGE as error:
            raise PriorError(f"prior {path} is damaged: {error!r} in its description") from error
        return prior


def _check_kind(path: Path, data: Mapping[str, Any]) -> None:
    if data.get("kind") == "step":
        folder = path.absolute().parent
        archive = folder.with_name(f"{folder.name}.minr")
        what = archive if archive.exists() else "the .minr file of that archive"
        raise PriorError(f"{path} is a time step of an archive, not a prior; open {what} instead")
    if data.get("kind") != "prior":
        raise PriorError(f"{path} is a {data.get('kind')!r} file, not a prior; {_CURE}")
    if int(data.get("version", 0)) > FORMAT_VERSION:
        raise PriorError(
            f"{path} has prior format {data['version']}; this Meta-INR reads up to"
            f" {FORMAT_VERSION}: update it"
        )
