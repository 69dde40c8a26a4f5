#!/usr/bin/env bash
# Usage: steps/train_subwords.sh [options] <data-dir or text> <dir>
# Learns the pieces of words (SentencePiece, unigram, lower case) that attention decoders write:
# <dir>/spm.model, units.txt, spm.json. A text has one sentence a line and may be gzipped. Small
# texts give fewer pieces than asked for. Train on the training set only.
# e.g.: steps/train_subwords.sh data/labelled exp/subwords
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
vocab=1000 # pieces at most, specials included
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 2 ] || usage

"$TRIVIUM_PYTHON" -m pylib.bin.train_subwords --vocab "$vocab" "$1" "$2"
