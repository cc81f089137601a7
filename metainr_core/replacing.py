"""An archive that takes the place of another one only once it is whole."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .archive import checked
from .errors import ArchiveError
from .writing import check_writable, make_folder


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Gives the name of a new archive, which is at ``path`` once the block has ended.

    What ``path`` held stays until then, and stays for good where the block raises. Other files
    in its folder are not touched. Raises ArchiveError where nothing can be written.
    """
    path = checked(path)
    folder = path.with_suffix("")
    check_writable(path)
    if os.path.lexists(folder):
        if not folder.is_dir():
            raise ArchiveError(
                f"{path} needs the folder {folder} beside it, but that is a file; choose another"
                " name"
            )
        check_writable(folder / path.name)
    # Beside the target: moving is then renaming.
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as temporary:
        new = Path(temporary, path.name)
        yield new
        make_folder(folder)
        old = Path(temporary, "old")
        old.mkdir()
        for file in [*folder.glob("step_*.safetensors"), *folder.glob("prior.safetensors")]:
            shutil.move(file, old / file.name)
        for file in new.with_suffix("").iterdir():
            shutil.move(file, folder / file.name)
        new.replace(path)
