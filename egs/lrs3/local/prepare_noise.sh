#!/usr/bin/env bash
# Usage: local/prepare_noise.sh [options] <speech-data> <noise-dir>
# Noise to train and to test with: <noise-dir>/<category>.<train|valid|test>.scp, id -> wav of 16 kHz,
# and noise.json. Categories: babble (30 talkers at once), speech (one other speaker, from
# <speech-data>), and with --musan also music and natural; babble is then MUSAN's speech. What a part
# is made of, recordings and speakers, is in no other part.
# e.g.: local/prepare_noise.sh --nj 8 --musan /corpora/musan data/pretrain data/noise
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../../path.sh"
# options
nj=2             # number of jobs
cmd=local/run.sh # how to run jobs, Kaldi's grammar
musan=           # MUSAN tree (music, noise, speech); empty: babble and speech of <speech-data> only
seed=1           # of the splits and mixtures
talkers=30       # voices of a babble
seconds=10       # longer recordings are cut into pieces of so many seconds
min=3            # shorter pieces of music and natural noise are left out, seconds
max_hours=60     # of each category, all parts together
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 2 ] || usage

make=("$TRIVIUM_PYTHON" "$TRIVIUM_ROOT/egs/lrs3/local/prepare_noise.py" --musan "$musan" --seed "$seed"
  --talkers "$talkers" --seconds "$seconds" --min "$min" --max-hours "$max_hours")
read -ra cmd_words <<<"$cmd"
"${cmd_words[@]}" JOB=1:"$nj" "$2/log/prepare_noise.JOB.log" "${make[@]}" --shard "JOB/$nj" "$@"
"${make[@]}" --merge "$nj" "$@"
