"""Charts of the selected Meta-INR Pretrain, prior, Encode, Compare or Projection.

A macro for ParaView's GUI (menu Macros): losses over rounds of training, PSNR and bytes over time,
PSNR, SSIM and distances of isosurfaces over time, or the map of the time steps. Of several selected
sources it shows all; with none of these selected it takes the only one there is. What is shown
already is brought up to date. `metainr paraview` puts this file into the menu.
"""

from __future__ import annotations

from metainr_views.plots import PlotError, plot, sources_to_plot
from metainr_views.sources import select, selected
from paraview import simple
from vtkmodules.vtkCommonCore import vtkOutputWindow


def run_macro() -> None:
    chosen = selected()
    try:
        views = [view for source in sources_to_plot() for view in plot(source)]
        simple.SetActiveView(views[0])
        simple.RenderAllViews()
    except PlotError as error:
        vtkOutputWindow.GetInstance().DisplayErrorText(f"ERROR: Meta-INR plot: {error}\n")
    select(chosen)


# ParaView 5.11 calls a macro "__vtkconsole__", so __name__ tells nothing.
run_macro()
