#!/usr/bin/env bash
# Usage: steps/dump_feats.sh [options] <checkpoint> <data-dir> <ark-dir> [<data-dir> <ark-dir>...]
# Writes the features of one layer of a model: <data-dir>/hidden<layer>.scp, .json beside it; with
# --modality a, v or p, of an audio-visual model, <data-dir>/hidden<layer>_a.scp and so on. Each job
# takes its part of every data directory; logs lie in the first ark directory.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
nj=4             # number of jobs
cmd=local/run.sh # how to run jobs
layer=6          # 0 = input of the first block, l = output of block l
name=            # name instead of hidden<layer>
modality=auto    # av, a, v, p (phones); auto = audio and video, as far as the data has them
device=cpu       # cpu, cuda or auto
gpu=0            # GPUs asked for each job
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
. "$TRIVIUM_ROOT/local/shards.sh"
[ $# -ge 3 ] && [ $(($# % 2)) -eq 1 ] || usage

read -ra cmd_words <<<"$cmd"
dump=("$TRIVIUM_PYTHON" -m pylib.bin.dump_feats --layer "$layer" --device "$device"
  --modality "$modality")
[ -z "$name" ] || dump+=(--name "$name")
[ "$gpu" -eq 0 ] || cmd_words+=(--gpu "$gpu")
shards "$3/log/dump_layer$layer.JOB.log" "${dump[@]}" "$@"
