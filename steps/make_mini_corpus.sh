#!/usr/bin/env bash
# Usage: steps/make_mini_corpus.sh [options] <corpus-dir>
# Makes a built-in corpus: synthetic voices in LibriSpeech's or VCTK's layout, or talking faces in
# LRS3's (with audio-text, audio-only, text-only and noise sets beside them); the same bytes for the
# same size, seed and settings. A built-in corpus already there is replaced.
# e.g.: steps/make_mini_corpus.sh --size full --seed 2 data/local/mini_full
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
layout=librispeech # librispeech, vctk (a parallel set of texts, speakers equal in number of utterances) or lrs3
size=easy          # smoke (about 4 minutes), easy (48 to 96) or full (120 to 190 minutes, more words)
seed=1             # all randomness of the corpus
nj=2               # processes
set=               # values that differ from the size's, such as words=120,snr_low=20
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 1 ] || usage

settings=()
[ -z "$set" ] || settings=(--set "$set")
"$TRIVIUM_PYTHON" -m pylib.bin.make_mini_corpus --layout "$layout" --size "$size" --seed "$seed" \
  --nj "$nj" ${settings[@]+"${settings[@]}"} "$1"
