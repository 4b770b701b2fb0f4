"""The published networks that FID, FVD, the Inception Score and LPIPS are named after.

Which files they are, by hash, and where these may lie on this machine. Nothing is fetched unless a
name on the Hugging Face hub is given.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from ..core.errors import MuybridgeError
from ..models import c3d, i3d, inception, lpips

Where = str | Path | None
"""Where to look first: a file, a folder, "hf:owner/repository", "hf:owner/repository/file"."""


@dataclass(frozen=True)
class File:
    """One published file.

    Attributes:
        names: what it is called; the first name is the publisher's.
        sha256: its whole SHA-256, "" where none is known.
        source: where it is published.
        script: whether it is a TorchScript archive.
    """

    names: tuple[str, ...]
    sha256: str
    source: str
    script: bool = False


@dataclass(frozen=True)
class Reference:
    """A published network.

    Attributes:
        name: what it is called here.
        files: what its weights were published in.
        network: makes it, its weights yet to be loaded.
        rename: a parameter's published name to ours; "" for one that is not used.
        outputs: what a TorchScript archive and the network, in this order, make of one input.
    """

    name: str
    files: tuple[File, ...]
    network: Callable[[], nn.Module]
    rename: Callable[[str], str] = str
    outputs: Callable[[Any, nn.Module], tuple[Tensor, Tensor]] | None = None


@dataclass(frozen=True)
class Missing:
    """Why something cannot be had, and what to do about it."""

    name: str
    why: str
    hint: str


def _i3d_outputs(archive: Any, network: nn.Module) -> tuple[Tensor, Tensor]:
    clip = torch.rand((1, 3, 16, 224, 224), generator=torch.Generator().manual_seed(0)) * 2 - 1
    return archive(clip, rescale=False, resize=False, return_features=True), network(clip)


def _lpips_name(name: str) -> str:
    if name.startswith("lin"):
        return name.replace("lin", "heads.").removesuffix(".model.1.weight")
    return "" if name.startswith("classifier.") else name


def _lpips(backbone: str, file: str, sha256: str, heads: str) -> Reference:
    source = f"https://download.pytorch.org/models/{file}"
    fitted = (
        "https://github.com/richzhang/PerceptualSimilarity/raw/master/lpips/weights/v0.1/"
        f"{backbone}.pth"
    )
    return Reference(
        f"lpips-{backbone}",
        (
            File((file,), sha256, source),
            File((f"{backbone}.pth", f"lpips-v0.1-{backbone}.pth"), heads, fitted),
        ),
        functools.partial(lpips.network, backbone),
        _lpips_name,
    )


def _chainer_name(name: str) -> str:
    return name.replace("/W", ".weight").replace("/b", ".bias")


_INCEPTION = "inception-2015-12-05-6726825d.pth"
_TGAN = "https://github.com/rezoo/tgan2/releases/download/v1.0/"

# Hashes are of the whole files, as several independent projects pin them. None is published for
# TGAN's, so its score cannot be given under its name until someone does.
PUBLISHED: Mapping[str, Reference] = MappingProxyType(
    {
        reference.name: reference
        for reference in (
            Reference(
                "inception",
                (
                    File(
                        (f"pt_{_INCEPTION}", f"weights-{_INCEPTION}"),
                        "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
                        "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
                        f"pt_{_INCEPTION}",
                    ),
                ),
                inception.network,
            ),
            Reference(
                "i3d",
                (
                    File(
                        ("i3d_torchscript.pt",),
                        "bec6519f66ea534e953026b4ae2c65553c17bf105611c746d904657e5860a5e2",
                        "https://www.dropbox.com/s/ge9e5ujwgetktms/i3d_torchscript.pt?dl=1, "
                        "hf:flateon/FVD-I3D-torchscript",
                        script=True,
                    ),
                ),
                i3d.network,
                outputs=_i3d_outputs,
            ),
            Reference(
                "c3d",
                (
                    File(("conv3d_deepnetA_ucf.npz",), "", _TGAN + "conv3d_deepnetA_ucf.npz"),
                    File(("mean2.npz",), "", _TGAN + "mean2.npz"),
                ),
                c3d.network,
                _chainer_name,
            ),
            _lpips(
                "alex",
                "alexnet-owt-7be5be79.pth",
                "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
                "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
            ),
            _lpips(
                "vgg",
                "vgg16-397923af.pth",
                "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
                "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
            ),
        )
    }
)


def cache() -> Path:
    """Where weights are kept: `muybridge/weights` in $XDG_CACHE_HOME or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "muybridge/weights"


def places(file: File, where: Where = None) -> list[Path]:
    """Files and folders to look in: `where`, $MUYBRIDGE_WEIGHTS, the cache, and torch.hub's.

    Raises:
        MuybridgeError: `where` does not exist, or is on the hub and cannot be had.
    """
    found = [_place(where, file)] if where is not None else []
    if told := os.environ.get("MUYBRIDGE_WEIGHTS"):
        found.append(Path(told))
    return [*found, cache(), Path(torch.hub.get_dir()) / "checkpoints"]


def find(file: File, where: Where = None) -> list[Path]:
    """Files of that name on this machine, likeliest first; whether they are it, their hash says.

    Looks in `places`, then in Hugging Face's cache. A file that `where` names may have any name.

    Raises:
        MuybridgeError: as `places`.
    """
    found = []
    for number, place in enumerate(places(file, where)):
        if place.is_file() and (place.name in file.names or (number == 0 and where is not None)):
            found.append(place)
        folder = place.parent if place.is_file() else place
        found += [folder / name for name in file.names if (folder / name).is_file()]
    for name in file.names:
        found += sorted(_hugging_face().glob(f"*--*/snapshots/*/**/{name}"))
    return list(dict.fromkeys(found))


def _hugging_face() -> Path:
    home = os.environ.get("HF_HOME")
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home or root) / "hub")


def _place(where: str | Path, file: File) -> Path:
    """The file or folder that `where` means, fetched if it is on the hub."""
    if not str(where).startswith("hf:"):
        if not Path(where).exists():
            raise MuybridgeError(f"weights {where} do not exist", "check the path")
        return Path(where)
    owner, _, rest = str(where).removeprefix("hf:").partition("/")
    repository, _, path = rest.partition("/")
    try:
        import huggingface_hub
    except ImportError as error:
        raise MuybridgeError(
            f"weights {where} need huggingface_hub, which is not installed",
            "pip install 'muybridge[caption]', or give the path of a file",
        ) from error
    try:
        name = path or file.names[0]
        return Path(huggingface_hub.hf_hub_download(f"{owner}/{repository}", name))
    except Exception as error:  # no such name, no network, no room: each raises its own
        text = " ".join(str(error).split())
        raise MuybridgeError(
            f"weights {where} cannot be had from the hub: {text[:300]}",
            f"without a network, fetch {file.names[0]} elsewhere and give its path",
        ) from error
