"""The package itself with its own heads, on backbones of random weights."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from metainr_core import perceptual
from metainr_core.errors import LpipsError, MetaINRError, SettingsError
from metainr_core.perceptual import Lpips, find_backbone

lpips: Any = perceptual._package()
models: Any = sys.modules["torchvision.models"]

MODELS = {"alex": "alexnet", "squeeze": "squeezenet1_1", "vgg": "vgg16"}
FILES = {
    "alex": "alexnet-owt-7be5be79.pth",
    "squeeze": "squeezenet1_1-b8a52dc0.pth",
    "vgg": "vgg16-397923af.pth",
}


def random_model(net: str) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return getattr(models, MODELS[net])(weights=None)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("backbone") / "alex.pth"
    torch.save(random_model("alex").state_dict(), path)
    return path


@pytest.fixture(scope="module")
def alex(backbone: Path) -> Lpips:
    return Lpips(backbone=backbone)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of PyTorch's: the folder where backbones belong."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    return tmp_path / "checkpoints"


def picture(seed: int = 0, shape: tuple[int, ...] = (72, 96, 3)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def noisy(image: np.ndarray, level: float) -> np.ndarray:
    noise = np.random.default_rng(1).normal(0, level, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def test_equal_pictures_have_distance_0(alex: Lpips) -> None:
    assert alex(picture(), picture()) == 0.0


def test_more_noise_is_further_away(alex: Lpips) -> None:
    z = np.linspace(40, 200, 96, dtype=np.float32)
    smooth = np.stack([np.tile(z, (72, 1))] * 3, axis=-1).astype(np.uint8)
    for image in (picture(), smooth):
        distances = [alex(image, noisy(image, level)) for level in (0, 2, 5, 12, 30, 80)]
        assert distances[0] == 0
        assert (np.diff(distances) > 0).all(), distances


def test_the_distance_is_symmetric(alex: Lpips) -> None:
    assert alex(picture(0), picture(1)) == pytest.approx(alex(picture(1), picture(0)), rel=1e-5)


@pytest.mark.parametrize("net", ["alex", "squeeze"])
def test_it_is_what_the_package_computes_with_these_weights(
    net: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_model(net)
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    ours = Lpips(net, tmp_path / "weights.pth")

    # The package's own way, in which torchvision hands it the model with the weights.
    monkeypatch.setattr(lpips.pretrained_networks.tv, MODELS[net], lambda pretrained: model)
    theirs = lpips.LPIPS(net=net, verbose=False)
    a, b = picture(0), noisy(picture(0), 20)
    with torch.no_grad():
        expected = float(theirs(lpips.im2tensor(a), lpips.im2tensor(b)))
    assert ours(a, b) == expected


def test_the_backbones_weights_matter(alex: Lpips, tmp_path: Path) -> None:
    changed = {name: 0.5 * t for name, t in random_model("alex").state_dict().items()}
    torch.save(changed, tmp_path / "changed.pth")
    a, b = picture(0), picture(1)
    assert Lpips(backbone=tmp_path / "changed.pth")(a, b) != pytest.approx(alex(a, b), rel=1e-3)


def test_safetensors_are_read_too(alex: Lpips, tmp_path: Path) -> None:
    save_file(random_model("alex").state_dict(), tmp_path / "alex.safetensors")
    a, b = picture(0), picture(1)
    assert Lpips(backbone=tmp_path / "alex.safetensors")(a, b) == alex(a, b)


def test_the_backbone_in_pytorchs_cache_is_found(backbone: Path, alex: Lpips, cache: Path) -> None:
    cache.mkdir()
    (cache / FILES["alex"]).symlink_to(backbone)
    assert Lpips("alex")(picture(0), picture(1)) == alex(picture(0), picture(1))


@pytest.mark.parametrize("net", FILES)
def test_a_missing_backbone_is_said_and_not_downloaded(
    net: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(*_: Any, **__: Any) -> None:
        raise AssertionError("nothing is to be downloaded")

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    message = (
        f"{cache / FILES[net]}, which does not exist;"
        f" download https://download.pytorch.org/models/{FILES[net]} to there"
    )
    with pytest.raises(LpipsError, match=re.escape(message)):
        Lpips(net)
    with pytest.raises(LpipsError, match=re.escape(message)):
        find_backbone(net)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LpipsError, match=r"no\.pth does not exist"):
        Lpips(backbone=tmp_path / "no.pth")


class Unsafe:
    def __reduce__(self) -> Any:
        return (print, ("this must not run",))


def wrong_files(backbone: Path) -> dict[str, Any]:
    return {
        "truncated": backbone.read_bytes()[:100_000],
        "empty": b"",
        "text": b"<html>Not found</html>",
        "code": Unsafe(),
    }


@pytest.mark.parametrize("kind", ["truncated", "empty", "text", "code"])
@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_a_damaged_file_is_one_line(
    kind: str, ending: str, backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / ("wrong" + ending)
    content = wrong_files(backbone)[kind]
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(LpipsError, match="cannot be read") as caught:
        Lpips(backbone=path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("content", "got"),
    [
        ({"features.0.weight": torch.zeros(3, 4)}, r"features\.0\.weight is of shape \(3, 4\)"),
        ({"weights": torch.zeros(3)}, r"features\.0\.weight is missing"),
        ({"features.0.weight": 3}, r"features\.0\.weight is missing"),
        ([torch.zeros(3)], r"features\.0\.weight is missing"),
    ],
)
def test_a_file_of_something_else_is_one_line(content: Any, got: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(LpipsError, match=rf"not the backbone of LPIPS's net 'alex': {got}, exp"):
        Lpips(backbone=tmp_path / "other.pth")


def test_the_backbone_of_another_net_is_refused(backbone: Path) -> None:
    with pytest.raises(LpipsError, match=r"is not the backbone of LPIPS's net 'squeeze'"):
        Lpips("squeeze", backbone)


def test_an_unknown_net_is_refused() -> None:
    with pytest.raises(SettingsError, match="'resnet'; expected one of alex, vgg, squeeze"):
        Lpips("resnet")


@pytest.mark.parametrize("wrong", [(72, 96), (72, 96, 4), (16, 96, 3)])
def test_other_pictures_are_refused(alex: Lpips, wrong: tuple[int, ...]) -> None:
    with pytest.raises(SettingsError, match="expected uint8"):
        alex(picture(shape=wrong), picture(shape=wrong))
    with pytest.raises(SettingsError, match="expected the same"):
        alex(picture(shape=wrong), picture())
    with pytest.raises(SettingsError, match="float32"):
        alex(picture().astype(np.float32), picture().astype(np.float32))


def test_a_missing_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lpips", None)
    perceptual._package.cache_clear()
    try:
        with pytest.raises(LpipsError, match=r"needs lpips.*pip install 'metainr\[compare\]'"):
            Lpips()
    finally:
        perceptual._package.cache_clear()
    assert issubclass(LpipsError, MetaINRError)


def test_random_numbers_are_left_as_they_were(backbone: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    Lpips(backbone=backbone)
    assert torch.equal(torch.rand(4), expected)


def test_nothing_is_said_on_the_way(backbone: Path) -> None:
    """In a new process, where torchvision and the package are imported for the first time."""
    code = f"from metainr_core.perceptual import Lpips; Lpips(backbone={str(backbone)!r})"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_importing_the_core_does_not_import_the_packages() -> None:
    code = (
        "import sys, metainr_core.perceptual;"
        "print([m for m in ('lpips', 'torchvision', 'scipy') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert result.stdout.strip() == "[]"
