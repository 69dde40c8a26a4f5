#!/usr/bin/env bash
# Usage: steps/get_utt2dur.sh [options] <data-dir>
# Writes utt2dur (seconds) and utt2num_samples, with segments reco2dur too, from the headers of the
# audio; a file that is broken or cut short is an error.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
nj=4 # number of processes
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 1 ] || usage

exec "$TRIVIUM_PYTHON" -m pylib.bin.get_utt2dur --nj="$nj" "$1"
