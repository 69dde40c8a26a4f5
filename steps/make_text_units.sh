#!/usr/bin/env bash
# Usage: steps/make_text_units.sh [options] <text-dir> <out-data>
# Makes a data directory of text alone that can be trained on: phones of the words of
# <text-dir>/text at 100 Hz (phones.scp), units at 25 Hz as a phone2unit model predicts them
# (labels.scp), utt2num_frames at 25 Hz. Without a model durations are drawn and there are no units.
# e.g.: steps/make_text_units.sh --nj 8 --checkpoint exp/phone2unit/checkpoint_best.pt \
#         data/onlytext data/onlytext_units
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
nj=4               # number of jobs
cmd=local/run.sh   # how to run jobs
checkpoint=        # of phone2unit; empty: drawn durations, no units
labels_of=         # data directory with the labels that the model was trained on; the checkpoint knows
lexicon=           # pronunciations, Kaldi's or CMUdict's form; empty: CMUdict
oov=g2p            # words it lacks: g2p (by espeak-ng's rules), or drop (the text is left out)
silence=0.25       # probability of silence between two words
min_duration=1     # frames at 25 Hz of a phone at least; 0 lets short ones vanish
duration_scale=1.0 # of durations; above 1 is slower
seed=1             # of silences and drawn durations
device=cpu         # cpu, cuda or auto
gpu=0              # GPUs asked for each job
ark_dir=           # directory for the arks; default: <out-data>/arks
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
. "$TRIVIUM_ROOT/local/shards.sh"
[ $# -eq 2 ] || usage

arks=${ark_dir:-$2/arks}
read -ra cmd_words <<<"$cmd"
make=("$TRIVIUM_PYTHON" -m pylib.bin.make_text_units --oov "$oov" --silence "$silence"
  --min-duration "$min_duration" --duration-scale "$duration_scale" --seed "$seed"
  --ark-dir "$arks" --device "$device")
[ "$gpu" -eq 0 ] || cmd_words+=(--gpu "$gpu")
[ -z "$checkpoint" ] || make+=(--checkpoint "$checkpoint")
[ -z "$labels_of" ] || make+=(--labels-of "$labels_of")
[ -z "$lexicon" ] || make+=(--lexicon "$lexicon")
shards "$arks/log/make_text_units.JOB.log" "${make[@]}" "$@"
