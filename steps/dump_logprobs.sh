#!/usr/bin/env bash
# Usage: steps/dump_logprobs.sh [options] <checkpoint> <data-dir> <logprob-dir>
# Writes the log-probabilities of a fine-tuned model as arks. Batches are planned by length and do
# not depend on --nj.
# e.g.: steps/dump_logprobs.sh exp/ft_mt4ssl/checkpoint_best.pt data/dev exp/ft_mt4ssl/logprobs_dev
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
nj=1              # jobs
cmd=local/run.sh  # how to run jobs, Kaldi's grammar
batch_seconds=160 # padded audio a batch
device=cpu        # cpu, cuda or cuda:N
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 3 ] || usage

checkpoint=$1 data=$2 out=$3
read -ra cmd_words <<<"$cmd"
work=(--batch-seconds "$batch_seconds" --device "$device" "$checkpoint" "$data" "$out")
mkdir -p "$out/log"
rm -f "$out/logprobs.json" "$out/logprobs.scp"
"${cmd_words[@]}" JOB=1:"$nj" "$out/log/dump_logprobs.JOB.log" \
  "$TRIVIUM_PYTHON" -m pylib.bin.dump_logprobs --shard "JOB/$nj" "${work[@]}"
"$TRIVIUM_PYTHON" -m pylib.bin.dump_logprobs --merge "$nj" "${work[@]}"
