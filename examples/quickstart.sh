#!/usr/bin/env bash
# The main job, from nothing to a picture: set up, compute a turbulent flow, then pretrain,
# encode and decode it in ParaView. Everything it makes is in examples/quickstart_output.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash examples/setup.sh

output=examples/quickstart_output
if [ ! -e "$output/series/turbulence.pvd" ]; then
  echo "quick start: computing 16 moments of decaying turbulence, 64 x 64 x 64"
  .venv/bin/python examples/turbulence.py "$output/series" --size 64 --steps 16 --resolution 2.5
else
  echo "quick start: going on from $output; remove it to begin anew"
fi
echo "quick start: pretrain, encode and decode in pvpython"
.venv/bin/metainr pvpython examples/quickstart.py "$output"
echo "quick start: original, reconstruction and difference side by side"
xvfb-run -a .venv/bin/metainr pvpython examples/side_by_side.py \
  "$output/series/turbulence.pvd" "$output/turbulence.minr" "$output/side_by_side.png"
echo "quick start: done; see $output/side_by_side.png and $output/table.txt"
