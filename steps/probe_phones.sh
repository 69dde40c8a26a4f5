#!/usr/bin/env bash
# Usage: steps/probe_phones.sh [options] <data-train> <data-test> <out.json> [<data-train> <data-test> <out.json>...]
# Accuracy of a linear phone classifier on each frame of stored features (latents of
# steps/dump_latents.sh, log-mel ...), fitted on <data-train> and judged on other speakers
# (<data-test>). Needs phones.ctm in both. All probes are one job; its log lies beside the first.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
cmd=local/run.sh  # how to run jobs
feats=z1          # stem of the features, or several: z1,z2
max_frames=100000 # frames used of each set
system=           # name of the system in the rows; default: the latents', else the features
seed=             # seed in the rows and of the drawing; default: the latents'
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -ge 3 ] && [ $(($# % 3)) -eq 0 ] || usage

read -ra cmd_words <<<"$cmd"
probe=("$TRIVIUM_PYTHON" -m pylib.bin.probe_phones --feats "$feats" --max-frames "$max_frames"
  --system "$system")
[ -z "$seed" ] || probe+=(--seed "$seed")
"${cmd_words[@]}" "${3%.json}.log" "${probe[@]}" "$@"
