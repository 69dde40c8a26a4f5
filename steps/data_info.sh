#!/usr/bin/env bash
# Usage: steps/data_info.sh [options] <data-dir>...
# Prints hours, utterances, speakers, words and a histogram of durations.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
format=text # text or json
json=       # write JSON to this file too
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -ge 1 ] || usage

exec "$TRIVIUM_PYTHON" -m pylib.bin.data_info --format="$format" --json="$json" "$@"
