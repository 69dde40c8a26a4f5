#!/usr/bin/env bash
# Usage: local/prepare_sets.sh [options] <train-set> <unseen-set> <data-dir>
# Makes <data-dir>/{train,dev,unseen} and unseen/trials of any two data directories of different
# speakers: levels normalised, the recordings of training cut into pieces if asked. The pieces of one
# recording are of one speaker. dev is a part of train (one utterance a speaker): training needs no other set.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../../path.sh"
# options
nj=2             # number of jobs
cmd=local/run.sh # how to run jobs
chunk=0          # seconds of a piece, 0 = whole recordings
per_speaker=20   # utterances of a speaker in the trials, at most
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 3 ] || usage

steps=$TRIVIUM_ROOT/steps data=$3
clean=("$steps/clean_audio.sh" --cmd "$cmd" --nj "$nj")
"${clean[@]}" --chunk "$chunk" "$1" "$data/train" "$data/audio/train"
"${clean[@]}" "$2" "$data/unseen" "$data/audio/unseen"
"$steps/subset_data_dir.sh" --per-spk "$data/train" 1 "$data/dev"
"$steps/make_trials.sh" --per-speaker "$per_speaker" --train "$data/train" "$data/unseen" "$data/unseen/trials"
