#!/usr/bin/env bash
# Usage: steps/decode_av.sh [options] <checkpoint> <data-dir> <out-dir>
# Turns pictures and sound into words: one <out-dir>/decode_<set>[_<noise>_<snr>]_<modality>/ with
# hyp and decode.json for each condition and modality (av both, a sound, v pictures), for
# steps/score_wer.sh. Pictures go through the model once for all of them; v is decoded once, clean.
# No utterance is left out: with --pictures those that have none there are read from sound alone (av),
# or have no hypothesis and count as deleted (v); decode.json lists them.
# e.g.: steps/decode_av.sh --conditions "clean babble:0" --noise data/noise \
#         --tuned exp/ft/tuned.json exp/ft/checkpoint_best.pt data/test exp/ft
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
nj=1                # jobs
cmd=local/run.sh    # how to run jobs, Kaldi's grammar
modalities="av a v" # what the model may use: av, a, v
conditions=clean    # clean, or <category>:<SNR in dB> such as babble:-5; several with blanks
pictures=           # data directory of steps/make_mouth.sh, if another; it may lack utterances
noise=              # directory of noise, for conditions other than clean
method=beam         # beam, or greedy (CTC's best path)
tuned=              # tuned.json of steps/tune_av.sh: search options chosen on a development set
beam=               # hypotheses kept; default: as tuned, else 20
length_penalty=     # exponent of the length that scores are divided by; default: as tuned, else 1
ctc_weight=         # share of CTC's prefix score; default: as tuned, else 0
threshold=          # nats below the best that are given up, 0 = never; default: as tuned, else 20
seed=1              # which noise an utterance gets
batch_seconds=160   # padded video a batch
device=cpu          # cpu, cuda or cuda:N
list=false          # print the decode directories and stop
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 3 ] || usage

checkpoint=$1 data=$2 out=$3
read -ra cmd_words <<<"$cmd"
work=(--modalities "$modalities" --conditions "$conditions" --method "$method" --seed "$seed"
  --batch-seconds "$batch_seconds" --device "$device")
for option in "noise=$noise" "pictures=$pictures" "tuned=$tuned" "beam=$beam" "length-penalty=$length_penalty" \
  "ctc-weight=$ctc_weight" "threshold=$threshold"; do
  [ -z "${option#*=}" ] || work+=("--$option")
done
work+=("$checkpoint" "$data" "$out")
listed=$("$TRIVIUM_PYTHON" -m pylib.bin.decode_av --list "${work[@]}")
if [ "$list" = true ]; then
  echo "$listed"
  exit 0
fi
while IFS= read -r directory; do
  rm -rf "$directory/hyp" "$directory/decode.json" "$directory/parts"
done <<<"$listed"
logs=$out/log
"${cmd_words[@]}" JOB=1:"$nj" "$logs/decode_av_$(basename "$data").JOB.log" \
  "$TRIVIUM_PYTHON" -m pylib.bin.decode_av --shard "JOB/$nj" "${work[@]}"
"$TRIVIUM_PYTHON" -m pylib.bin.decode_av --merge "$nj" "${work[@]}"
