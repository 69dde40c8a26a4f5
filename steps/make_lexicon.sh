#!/usr/bin/env bash
# Usage: steps/make_lexicon.sh [options] <words> <lm-dir>
# Writes <lm-dir>/lexicon.txt, the letter spellings that a beam search may write. <words> is text, a
# vocabulary (librispeech-vocab.txt) or, with --column first, a pronunciation lexicon
# (librispeech-lexicon.txt); plain or gzip. Words the letters cannot spell are left out and counted.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
column=all # which fields are words: all, first, or text (all but the first, a Kaldi text)
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 2 ] || usage

"$TRIVIUM_PYTHON" -m pylib.bin.make_lexicon --column "$column" "$1" "$2"
