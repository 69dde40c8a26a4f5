#!/usr/bin/env bash
# Usage: local/take_labelled.sh <labelled-data> <mouth-data> <out-data>
# The part of <mouth-data> (pre-training set with mouth regions and features) that <labelled-data>
# lists, without the clips whose mouth was not found.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../../path.sh"
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 3 ] || usage

list=$(mktemp)
trap 'rm -f "$list"' EXIT
LC_ALL=C join -o 1.1 "$1/utt2spk" "$2/utt2spk" >"$list"
"$TRIVIUM_ROOT/steps/subset_data_dir.sh" --utt-list "$list" "$2" "$3"
