#!/usr/bin/env bash
# Usage: steps/split_data.sh [options] <data-dir> <num-parts>
# Writes <data-dir>/split<N>/1 to N for parallel jobs, speakers kept whole; nothing is done when the
# parts were made from the very same files.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
per_utt=false # split within speakers too, into split<N>utt
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 2 ] || usage

exec "$TRIVIUM_PYTHON" -m pylib.bin.split_data --per-utt="$per_utt" "$1" "$2"
