#!/usr/bin/env bash
# Usage: steps/probe_layers.sh [options] <checkpoint> <data-train> <data-test> <out.json>
# For each layer of a model: accuracy of a linear phone classifier and PNMI of a small k-means, both
# fitted on <data-train> and judged on other speakers (<data-test>). Needs phones.ctm in both.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
cmd=local/run.sh  # how to run jobs
layers=           # such as 0,3,6; default: all
clusters=100      # of the k-means
max_frames=100000 # frames used of each set
memory_gb=1.0     # features held at once
system=           # name of the system in the rows; default: the run's
seed=             # seed in the rows and of the drawing; default: the run's
device=cpu        # cpu, cuda or auto
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 4 ] || usage

read -ra cmd_words <<<"$cmd"
probe=("$TRIVIUM_PYTHON" -m pylib.bin.probe_layers --layers "$layers" --clusters "$clusters"
  --max-frames "$max_frames" --memory-gb "$memory_gb" --system "$system" --device "$device")
[ -z "$seed" ] || probe+=(--seed "$seed")
"${cmd_words[@]}" "${4%.json}.log" "${probe[@]}" "$@"
