#!/usr/bin/env bash
# Usage: steps/dump_logprobs.sh [options] <checkpoint> <data-dir> <logprob-dir> [<data-dir> <logprob-dir>...]
# Writes the log-probabilities of a fine-tuned model as arks. Batches are planned by length and do
# not depend on --nj. Each job takes its part of every data directory; logs lie in the first
# <logprob-dir>.
# e.g.: steps/dump_logprobs.sh exp/ft_mt4ssl/checkpoint_best.pt data/dev exp/ft_mt4ssl/logprobs_dev
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
nj=1              # jobs
cmd=local/run.sh  # how to run jobs, Kaldi's grammar
batch_seconds=160 # padded audio a batch
device=cpu        # cpu, cuda or cuda:N
gpu=0             # GPUs asked for each job
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
. "$TRIVIUM_ROOT/local/shards.sh"
[ $# -ge 3 ] && [ $(($# % 2)) -eq 1 ] || usage

read -ra cmd_words <<<"$cmd"
[ "$gpu" -eq 0 ] || cmd_words+=(--gpu "$gpu")
for ((i = 3; i <= $#; i += 2)); do
  mkdir -p "${!i}/log"
  rm -f "${!i}/logprobs".{json,scp}
done
shards "$3/log/dump_logprobs.JOB.log" "$TRIVIUM_PYTHON" -m pylib.bin.dump_logprobs \
  --batch-seconds "$batch_seconds" --device "$device" "$@"
