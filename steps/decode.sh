#!/usr/bin/env bash
# Usage: steps/decode.sh [options] <data-dir> <logprob-dir> <decode-dir>
# Turns log-probabilities into words: <decode-dir>/hyp and <decode-dir>/decode.json.
# e.g.: steps/decode.sh --decode lm --lm-dir exp/lm --tuned exp/ft/tuned.json \
#         data/test exp/ft/logprobs_test exp/ft/decode_test_lm
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
nj=4             # jobs
cmd=local/run.sh # how to run jobs, Kaldi's grammar
decode=greedy    # greedy (best path) or lm (beam search with lexicon and language model)
lm_dir=          # lexicon.txt and lm.json, for lm
tuned=           # tuned.json of steps/tune_lm.sh: search options chosen on a development set
beam=            # hypotheses kept; default: as tuned, else 500
beam_threshold=  # natural-log distance from the best; default: as tuned, else 50
beam_tokens=     # outputs tried a frame, 0 = all; default: as tuned, else 0
lm_weight=       # weight of log10 P_LM; default: as tuned, else 2
word_score=      # added per word; default: as tuned, else -1
sil_score=       # added per word boundary; default: as tuned, else 0
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 3 ] || usage

data=$1 logprobs=$2 out=$3
read -ra cmd_words <<<"$cmd"
work=(--decode "$decode")
for option in "lm-dir=$lm_dir" "tuned=$tuned" "beam=$beam" "beam-threshold=$beam_threshold" \
  "beam-tokens=$beam_tokens" "lm-weight=$lm_weight" "word-score=$word_score" \
  "sil-score=$sil_score"; do
  [ -z "${option#*=}" ] || work+=("--$option")
done
work+=("$data" "$logprobs" "$out")
mkdir -p "$out/log"
rm -rf "$out/hyp" "$out/decode.json" "$out/parts"
"${cmd_words[@]}" JOB=1:"$nj" "$out/log/decode.JOB.log" \
  "$TRIVIUM_PYTHON" -m pylib.bin.decode --shard "JOB/$nj" "${work[@]}"
"$TRIVIUM_PYTHON" -m pylib.bin.decode --merge "$nj" "${work[@]}"
