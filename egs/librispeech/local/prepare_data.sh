#!/usr/bin/env bash
# Usage: local/prepare_data.sh [options] <corpus-dir> <data-dir>
# Makes <data-dir>/{train,train_<split>,dev_*,test_*}, lm_text, excluded.txt and sets.json (which
# sets are for what) of LibriSpeech, of a part of it, or of the built-in corpus in its layout.
# e.g.: local/prepare_data.sh --split 1h --nj 8 /corpora/LibriSpeech data
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../../path.sh"
# options
split=10m        # labelled split: 10m, 1h, 10h, 100h or 960h
librilight=      # Libri-Light's librispeech_finetuning; empty: that beside the corpus, else the split is drawn
fold=0           # which of the six 10-minute sets
seed=1           # of splits that are drawn
nj=2             # processes that look at the audio
cmd=local/run.sh # how to run the job, Kaldi's grammar
min_samples=400  # shorter utterances are left out (receptive field of the models, 25 ms)
max_seconds=60   # longer utterances are left out
check='tail'     # of each file: header, tail (also its last sample) or full (decode it)
allow_loss=false # let dev and test sets lose utterances that cannot be used
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 2 ] || usage

extra=()
[ -z "$librilight" ] || extra=(--librilight "$librilight")
prepare=("$TRIVIUM_PYTHON" "$TRIVIUM_ROOT/egs/librispeech/local/prepare_data.py"
  --split "$split" --fold "$fold" --seed "$seed" --nj "$nj" --check "$check"
  --min-samples "$min_samples" --max-seconds "$max_seconds" --allow-loss "$allow_loss"
  ${extra[@]+"${extra[@]}"} "$1" "$2")
read -ra cmd_words <<<"$cmd"
mkdir -p "$2/log"
"${cmd_words[@]}" --num-threads "$nj" "$2/log/prepare_data.log" "${prepare[@]}"
grep -v '^#' "$2/log/prepare_data.log" # sets, what was left out, notices
