"""Settings for every test."""

import os

# Threads that spin while they wait slow each other down when the cores are shared. OpenMP reads
# this when torch is imported, which is after this file.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
