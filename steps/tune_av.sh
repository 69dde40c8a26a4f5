#!/usr/bin/env bash
# Usage: steps/tune_av.sh [options] <checkpoint> <dev-data-dir> <tuned.json>
# Chooses the length penalty, and the weight of CTC where the model has it, by WER on a development
# set, for each modality by itself; refuses any other set.
# e.g.: steps/tune_av.sh exp/ft/checkpoint_best.pt data/dev exp/ft/tuned.json
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
cmd=local/run.sh       # how to run the job
modality=av            # av, a, v; several with blanks
beam=20                # hypotheses kept; decoding with the result keeps as many
length_penalty=        # this one only; default: the best of 0 to 2
ctc_weight=            # this one only; default: the best of 0 to 0.7 if the model has CTC
threshold=20           # nats below the best that are given up, 0 = never
max_utts=0             # tune on an even subset of this size, 0 = all
normaliser=librispeech # as in scoring
force_set=false        # accept a set whose name does not say development
batch_seconds=160      # padded video a batch
device=cpu             # cpu, cuda or cuda:N
gpu=0                  # GPUs asked for
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 3 ] || usage

extra=()
[ "$force_set" = false ] || extra+=(--force-set)
for option in "length-penalty=$length_penalty" "ctc-weight=$ctc_weight"; do
  [ -z "${option#*=}" ] || extra+=("--$option")
done
read -ra cmd_words <<<"$cmd"
[ "$gpu" -eq 0 ] || cmd_words+=(--gpu "$gpu")
log=$(dirname "$3")/log/tune_av_$(basename "$2").log
"${cmd_words[@]}" "$log" "$TRIVIUM_PYTHON" -m pylib.bin.tune_av --modalities "$modality" --beam "$beam" \
  --threshold "$threshold" --max-utts "$max_utts" --normaliser "$normaliser" \
  --batch-seconds "$batch_seconds" --device "$device" ${extra[@]+"${extra[@]}"} "$1" "$2" "$3"
