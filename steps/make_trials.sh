#!/usr/bin/env bash
# Usage: steps/make_trials.sh [options] <data-dir> <trials-file>
# Draws speaker verification trials: all pairs of up to --per-speaker utterances of each speaker, no
# two of the same text. One line a trial, `<utt> <utt> target|nontarget same|cross|unknown`, the
# last being whether the genders agree. Speakers with one utterance, and trials between chunks of
# one recording, are left out and counted.
# e.g.: steps/make_trials.sh --train data/train data/unseen data/unseen/trials
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
seed=1         # of the draw
per_speaker=20 # utterances of a speaker, at most
train=         # data directory of training: refused when it has one of the speakers
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 2 ] || usage

extra=()
[ -z "$train" ] || extra=(--train "$train")
exec "$TRIVIUM_PYTHON" -m pylib.bin.make_trials --seed "$seed" --per-speaker "$per_speaker" \
  ${extra[@]+"${extra[@]}"} "$@"
