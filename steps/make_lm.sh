#!/usr/bin/env bash
# Usage: steps/make_lm.sh [options] <text> <lm-dir>
# Makes an n-gram language model of <text> (one sentence a line, plain or gzip) as <lm-dir>/lm.arpa
# and <lm-dir>/lm.json. With --given a ready model is registered instead and <text> is not read; an
# ARPA file is loaded by every decoding job, a KenLM binary (build_binary) is shared between them.
# e.g.: steps/make_lm.sh --given 4-gram.arpa.gz - exp/lm
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
order=4    # n of the n-grams
tool=auto  # lmplz, python, or auto: KenLM's lmplz when it is on PATH, else the built-in Kneser-Ney
memory=50% # memory of lmplz
given=     # a ready ARPA (plain or gzip) or KenLM binary
dev_text=  # Kaldi text of a development set, to print the perplexity of
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 2 ] || usage

extra=()
[ -z "$given" ] || extra+=(--given "$given")
[ -z "$dev_text" ] || extra+=(--dev-text "$dev_text")
"$TRIVIUM_PYTHON" -m pylib.bin.make_lm --order "$order" --tool "$tool" --memory "$memory" \
  ${extra[@]+"${extra[@]}"} "$1" "$2"
