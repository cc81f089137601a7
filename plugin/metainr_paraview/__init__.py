"""The filters and the reader of the ParaView plugin: one module each.

They import ``vtkmodules`` and the light parts of ``metainr_core``, never ``paraview``. PyTorch is
imported when a filter runs, so that the plugin loads, and can say what is missing, without it.
"""
