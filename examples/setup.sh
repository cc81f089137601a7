#!/usr/bin/env bash
# Set up the project on Debian or Ubuntu: ParaView by apt, everything else in .venv.
#
#   bash examples/setup.sh            what using the project needs
#   bash examples/setup.sh --tests    also what testing and building it needs
#
# Safe to run again: it installs only what is missing or has changed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { echo "setup: $*"; }
fail() { say "$*" >&2; exit 1; }

extra=base
case "${1:-}" in
  "") ;;
  --tests) extra=test ;;
  *) fail "unknown option $1; expected nothing or --tests" ;;
esac

# ParaView's modules belong to the system's Python, which is not always the python3 on the PATH.
system_python=/usr/bin/python3

# --- 1. Packages of the distribution --------------------------------------------------------

missing=()
needs() { # needs PACKAGE COMMAND...: PACKAGE is missing when COMMAND fails
  local package=$1
  shift
  "$@" >/dev/null 2>&1 || missing+=("$package")
}

installed() { dpkg-query -W -f '${Status}' "$1" | grep -q '^install ok installed$'; }

needs python3 test -x "$system_python"
needs python3-venv "$system_python" -c 'import ensurepip, venv'
needs paraview command -v paraview
needs python3-paraview "$system_python" -c 'import paraview, vtkmodules'
needs xvfb command -v xvfb-run
needs xauth command -v xauth
needs g++ command -v c++ # compiles the fast path for this processor, at its first use
if command -v dpkg-query >/dev/null; then
  needs libqt5svg5 installed libqt5svg5 # without it ParaView's icons are blank
  if [ "$extra" = test ]; then
    for package in cmake paraview-dev libdouble-conversion-dev libopenmpi-dev python3-dev; do
      needs "$package" installed "$package"
    done
  fi
fi

if [ "${#missing[@]}" -gt 0 ]; then
  command -v apt-get >/dev/null ||
    fail "apt-get is not here; please install ${missing[*]} (or what your system calls them)"
  as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null ||
      fail "neither root nor sudo; ask an administrator for: apt-get install ${missing[*]}"
    as_root=(sudo)
  fi
  say "installing ${missing[*]} with ${as_root[*]:+sudo }apt-get"
  "${as_root[@]}" apt-get update -q
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -q --no-install-recommends "${missing[@]}"
fi

# --- 2. The virtual environment -------------------------------------------------------------

# One stamp per set of extras; it names all that the environment's content depends on.
wanted=$( (pwd && "$system_python" --version &&
  cat pyproject.toml constraints.txt examples/setup.sh) | sha256sum)
has_stamp() { [ "$(cat ".venv/installed-$1" 2>/dev/null)" = "$wanted" ]; }
runs() { [ -x .venv/bin/metainr ] && .venv/bin/python -c pass 2>/dev/null; }

if { has_stamp test || has_stamp "$extra"; } && runs; then
  say ".venv is up to date"
  exit 0
fi

rm -f .venv/installed-*
# An environment that cannot run pip was interrupted, moved, or made by another Python.
if ! .venv/bin/python -m pip --version >/dev/null 2>&1 ||
  [ "$(.venv/bin/python --version)" != "$("$system_python" --version)" ]; then
  say "making .venv from $system_python; it sees the system's ParaView modules"
  "$system_python" -m venv --clear --system-site-packages .venv
fi

pip_install() {
  .venv/bin/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt "$@" ||
    fail "pip could not install $*; see its message, check the network or proxy, and run this again"
}

# torch comes first and alone, so that nothing else decides which build of it is taken.
say "installing PyTorch into .venv (a large download the first time)"
pip_install "$(grep '^torch==' constraints.txt)"
say "installing metainr and its other dependencies into .venv"
if [ "$extra" = test ]; then
  pip_install --editable '.[compare,test]'
else
  pip_install --editable '.[compare]'
fi

say "compiling the fast path for this processor"
.venv/bin/python -c 'from metainr_core.fused.build import library; library()'

echo "$wanted" >".venv/installed-$extra"
say "done; .venv/bin/metainr --help shows the command line"
