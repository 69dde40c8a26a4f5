#!/usr/bin/env bash
# Usage: steps/tune_lm.sh [options] <dev-data-dir> <logprob-dir> <lm-dir> <tuned.json>
# Chooses LM weight and word score by WER on a development set; refuses any other set. An
# interrupted search goes on from <tuned>.cache.json.
# e.g.: steps/tune_lm.sh data/dev exp/ft/logprobs_dev exp/lm exp/ft/tuned.json
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
cmd=local/run.sh       # how to run the job
nj=2                   # processes of it
beam=500               # hypotheses kept; decoding with the result keeps as many
coarse_beam=0          # the same for the first, coarse grid; 0 = a quarter of it
beam_threshold=50      # natural-log distance from the best
beam_tokens=0          # outputs tried a frame, 0 = all
sil_score=0            # added per word boundary
max_trials=60          # settings to decode at most
max_utts=0             # tune on an even subset of this size, 0 = all
normaliser=librispeech # as in scoring
force_set=false        # accept a set whose name does not say development
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 4 ] || usage

extra=()
[ "$force_set" = false ] || extra+=(--force-set)
read -ra cmd_words <<<"$cmd"
log=$(dirname "$4")/log/tune_lm_$(basename "$1").log
"${cmd_words[@]}" --num-threads "$nj" "$log" "$TRIVIUM_PYTHON" -m pylib.bin.tune_lm --nj "$nj" --beam "$beam" \
  --coarse-beam "$coarse_beam" \
  --beam-threshold="$beam_threshold" --beam-tokens "$beam_tokens" --sil-score="$sil_score" \
  --max-trials "$max_trials" --max-utts "$max_utts" --normaliser "$normaliser" \
  ${extra[@]+"${extra[@]}"} "$1" "$2" "$3" "$4"
