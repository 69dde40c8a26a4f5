#!/usr/bin/env bash
# Usage: steps/score_wer.sh [options] <data-dir> <decode-dir>
# Scores <decode-dir>/hyp against <data-dir>/text into <decode-dir>/scoring: WER and CER in Kaldi's
# formats, JSON, 95 % intervals, alignments. Missing hypotheses are deletions and exit status 1.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
normaliser=librispeech # what is done to both sides: librispeech, letters or none
partial=false          # the hypotheses are of a part of the set on purpose
system=                # name of the system, where no run.json lies above <decode-dir>
seed=                  # its seed, likewise
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 2 ] || usage

extra=()
[ "$partial" = false ] || extra+=(--partial)
[ -z "$system" ] || extra+=(--system "$system")
[ -z "$seed" ] || extra+=(--seed "$seed")
"$TRIVIUM_PYTHON" -m pylib.bin.score_wer --normaliser "$normaliser" \
  ${extra[@]+"${extra[@]}"} "$1" "$2"
