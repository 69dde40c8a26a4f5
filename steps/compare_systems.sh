#!/usr/bin/env bash
# Usage: steps/compare_systems.sh [options] <wer.json-of-A> <wer.json-of-B>
# Paired significance of the difference between two systems on one set.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
out= # also write the numbers as JSON
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 2 ] || usage

extra=()
[ -z "$out" ] || extra+=(--out "$out")
"$TRIVIUM_PYTHON" -m pylib.bin.compare_systems ${extra[@]+"${extra[@]}"} "$1" "$2"
