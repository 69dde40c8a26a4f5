#!/usr/bin/env bash
# Usage: local/recognise.sh [options] <checkpoint> <dev-data> <test-data> <exp-dir>
# Length penalty and CTC weight chosen on dev, the test set decoded with every modality in every
# condition, scores: <exp-dir>/decode_<set>[_<noise>_<SNR>]_<modality>/scoring. All of <test-data> is
# scored: a clip that --pictures lacks is read from sound alone, and is deleted words of lips alone.
# What lips alone say is also scored against other clips (v_other): a guess without input.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../../path.sh"
# options
nj=2                # number of jobs
cmd=local/run.sh    # how to run jobs
modalities="av a v" # what is seen: av, a, v
pictures=           # data directory of the test set's mouths; empty: <test-data>
conditions=clean    # clean, <noise>:<SNR in dB>
noise=              # directory of noise lists
beam=10             # hypotheses kept by the search
seed=1              # of the noise
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
. "$TRIVIUM_ROOT/local/lib.sh"
[ $# -eq 4 ] || usage

checkpoint=$1 dev=$2 test=$3 exp=$4
steps=$TRIVIUM_ROOT/steps
"$steps/tune_av.sh" --cmd "$cmd" --beam "$beam" --modality "$modalities" "$checkpoint" "$dev" \
  "$exp/tuned.json"
decode=("$steps/decode_av.sh" --cmd "$cmd" --nj "$nj" --modalities "$modalities" --conditions "$conditions"
  --pictures "$pictures" --noise "$noise" --seed "$seed" --tuned "$exp/tuned.json" "$checkpoint" "$test" "$exp")
"${decode[@]}"
mapfile -t folders < <("${decode[@]}" --list true)
for folder in "${folders[@]}"; do
  "$steps/score_wer.sh" "$test" "$folder"
  # What lips alone must beat: the same words held against other clips.
  if [[ $folder = */decode_"$(basename "$test")"_v ]]; then
    "$steps/swap_clips.sh" --cmd "$cmd" "$folder"
    "$steps/score_wer.sh" "$test" "${folder}_other"
  fi
done
