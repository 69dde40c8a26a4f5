#!/usr/bin/env bash
# Usage: steps/measure_units.sh [options] <data-dir> <out.json>
# Judges the labels of <data-dir>: how evenly the units are used and, where <data-dir>/phones.ctm
# has phone times, PNMI, phone purity, cluster purity and lengths, with 95 % intervals.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
system= # name of the system in the rows; default: kmeans-<features>
seed=0  # seed in the rows
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 2 ] || usage

"$TRIVIUM_PYTHON" -m pylib.bin.measure_units --system "$system" --seed "$seed" "$1" "$2"
