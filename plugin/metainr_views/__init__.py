"""Views of what the filters made: scripts of ParaView's client, so here paraview is imported."""
