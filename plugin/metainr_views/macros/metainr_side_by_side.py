"""Original, reconstruction and difference side by side, in three linked views.

A macro for ParaView's GUI (menu Macros), which shows what is in the pipeline:

1. the two selected sources: a Meta-INR Decode or Reader is the reconstruction of the other one, of
   two others the one that was opened first is the original;
2. else the inputs of the selected Meta-INR Compare, or what the selected Meta-INR Decode or Encode
   makes of its series;
3. else the only pair of a kind that there is: a Compare's, else a Decode's, else a Reader and the
   only other volume.

Volumes are rendered; with a Compare whose Isovalues are set, the isosurfaces at these values. A
second run replaces what the first one made. `metainr paraview` puts this file into the menu.
"""

from __future__ import annotations

from metainr_views.side_by_side import side_by_side
from metainr_views.sources import (
    COMPARE,
    SideBySideError,
    all_sources,
    inputs,
    kind,
    pair_in_pipeline,
    select,
    selected,
)
from paraview import simple
from vtkmodules.vtkCommonCore import vtkOutputWindow


def run_macro() -> None:
    chosen = selected()
    try:
        original, reconstruction = pair_in_pipeline()
        pair = [original.SMProxy, reconstruction.SMProxy]
        compares = [s for s in all_sources() if kind(s) == COMPARE]
        compare = next((c for c in compares if [i.SMProxy for i in inputs(c)] == pair), None)
        isovalues = compare.Isovalues if compare is not None and len(compare.Isovalues) else None
        made = side_by_side(
            original, reconstruction, compare=compare, isovalues=isovalues, in_window=True
        )
        simple.SetActiveView(made.views[0])
    except SideBySideError as error:
        window = vtkOutputWindow.GetInstance()
        window.DisplayErrorText(f"ERROR: Meta-INR side by side: {error}\n")
    select(chosen)


# ParaView 5.11 calls a macro "__vtkconsole__", so __name__ tells nothing.
run_macro()
