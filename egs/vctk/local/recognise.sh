#!/usr/bin/env bash
# Usage: local/recognise.sh [options] <checkpoint> <data-dir> <exp-dir>
# Recognises a set greedily and scores it: <exp-dir>/decode_<set>_greedy/scoring. With --feats the
# features the recogniser reads are made first (converted speech has none).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../../path.sh"
# options
nj=2             # number of jobs
cmd=local/run.sh # how to run jobs
feats=           # kind of features to make first: logmel, logspec, logspec200
system=          # name of the system, where no run.json lies in <exp-dir>
seed=            # its seed, likewise
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 3 ] || usage

checkpoint=$1 data=$2 exp=$3
name=$(basename "$data")
steps=$TRIVIUM_ROOT/steps
array=(--cmd "$cmd" --nj "$nj")
[ -z "$feats" ] || "$steps/make_feats.sh" "${array[@]}" --kind "$feats" "$data" "$data/feats"
"$steps/dump_logprobs.sh" "${array[@]}" "$checkpoint" "$data" "$exp/logprobs_$name"
"$steps/decode.sh" "${array[@]}" --decode greedy "$data" "$exp/logprobs_$name" "$exp/decode_${name}_greedy"
"$steps/score_wer.sh" --system "$system" --seed "$seed" "$data" "$exp/decode_${name}_greedy"
