"""Original, reconstruction and difference side by side, in three linked views.

As a macro (Macros > metainr_side_by_side in the GUI) it shows what is in the pipeline:

1. the two selected sources: a Meta-INR Decode or Reader is the reconstruction of the other one, of
   two others the first is the original;
2. else the inputs of the selected Meta-INR Compare, or what the selected Meta-INR Decode or Encode
   makes of its series;
3. else the only pair of a kind that there is: a Compare's, else a Decode's, else a Reader and the
   only other volume.

Volumes are rendered; with a Compare whose Isovalues are set, the isosurfaces at these values. A
second run replaces what the first one made. The file needs ParaView and the Meta-INR plugin only,
so it can be imported as a macro anywhere.
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
)
from paraview import simple
from vtkmodules.vtkCommonCore import vtkOutputWindow


def run_macro() -> None:
    active = simple.GetActiveSource()
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
    simple.SetActiveSource(active)


if __name__ == "__main__":
    run_macro()
