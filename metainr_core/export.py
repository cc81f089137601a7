"""Decoded steps as a ``.pvd`` and a folder of ``.vti`` files, which nothing else may lose by."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from .archive import Archive
from .errors import SettingsError
from .grid import Grid
from .hashing import fingerprint
from .members import member_of
from .series import Progress, no_progress
from .vti import make_image, read_mark, write_image, write_pvd
from .writing import check_name, make_folder, remove, remove_leftovers, remove_leftovers_of


def export(
    archive: Archive,
    output: Path,
    grid: Grid,
    steps: Sequence[int],
    *,
    device: str = "auto",
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> None:
    """Writes steps of one member of an archive, on ``grid``, as ``output`` (.pvd) and its folder.

    A mark in the ``.pvd``, which is there before the first image is, says what the images are.
    Those of the same steps and grid are kept, so that an interrupted export goes on; those of
    others are replaced with ``overwrite``, and files without a mark never are.
    """
    check_name(output)
    folder = output.with_suffix("")
    files = {step: folder / f"step_{step:06d}.vti" for step in steps}
    mark = fingerprint(
        archive.header.identity, grid.to_json(), [(s, archive.record(s).sha256) for s in steps]
    )
    members = archive.members
    if len(found := {member_of(members, step).name for step in steps}) > 1:
        raise SettingsError(
            f"{output} would hold steps of several members of {archive.path}:"
            f" {', '.join(sorted(found))}; export one at a time"
        )
    if max(map(abs, grid.extent)) >= 2**31:
        raise SettingsError(
            f"{grid.dims} values are more along an axis than .vti files count (2³¹); decode fewer"
            " values or a box of them"
        )
    goes_on = _check_target(archive, output, list(files.values()), mark, overwrite)
    remove_leftovers_of(output)
    remove_leftovers(folder, "step_*.vti")
    done = {step for step, file in files.items() if goes_on and file.exists()}
    try:
        for step, file in files.items():
            if step in done:
                continue

            def report(fraction: float, message: str, step: int = step) -> None:
                share = (len(done) + fraction) / len(files)
                progress(share, f"step {step} ({len(done) + 1}/{len(files)}): {message}")

            report(0, "decode")
            values = archive.decode(step, grid, device=device, progress=report)
            image = make_image(values, grid, archive.array)
            if not goes_on:
                # Only now, as values that do not fit into memory should leave no trace.
                make_folder(folder)
                remove(files.values())
                write_pvd(output, [], [], mark)
                goes_on = True
            write_image(image, file)
            del image, values  # before the next are decoded
            done.add(step)
    finally:
        if goes_on:
            finished = [step for step in files if step in done]
            names = [f"{folder.name}/{files[step].name}" for step in finished]
            write_pvd(output, names, [archive.record(s).time for s in finished], mark)


def _check_target(
    archive: Archive, output: Path, files: Sequence[Path], mark: str, overwrite: bool
) -> bool:
    """Whether the output holds some of these very images. Raises SettingsError if it must stay."""
    there = [path for path in (output, *files) if path.exists()]
    if not there:
        return False
    found = read_mark(output)
    source = Path(str(archive.info.get("series")))
    if os.path.exists(source) and output.exists() and source.samefile(output):
        raise SettingsError(f"{output} is the series in {archive.path}; choose another name")
    if found is None:
        raise SettingsError(
            f"{there[0]} exists and is not marked as written by metainr decode; choose another name"
        )
    if found != mark and not overwrite:
        raise SettingsError(
            f"{output} exists and holds other steps, another grid or another archive; choose"
            " another name, or pass --overwrite"
        )
    return not overwrite
