#!/usr/bin/env bash
# Usage: local/download.sh [options] <directory>
# Fetches VCTK 0.92 (11 GB packed) to <directory>/VCTK-Corpus-0.92. Goes on where an earlier run
# stopped; checks the sha256; what is there already is left alone. A <directory> that is itself
# called VCTK-Corpus-0.92 is taken as the corpus's place.
# e.g.: local/download.sh /corpora
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../../path.sh"
# options
mirror=https://datashare.ed.ac.uk # server of the University of Edinburgh, or one that has its paths
keep_archives=false               # keep the zip file after unpacking
retries=5                         # broken connections in a row before giving up
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 1 ] || usage

directory=${1%/}
[ "$(basename "$directory")" != VCTK-Corpus-0.92 ] || directory=$(dirname "$directory")
"$TRIVIUM_PYTHON" -m pylib.bin.download --keep-archives "$keep_archives" --retries "$retries" \
  --mirror "https://datashare.ed.ac.uk=$mirror" \
  "$TRIVIUM_ROOT/egs/vctk/local/downloads.txt" "$directory" vctk
