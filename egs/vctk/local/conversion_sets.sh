#!/usr/bin/env bash
# Usage: local/conversion_sets.sh <data-dir>
# What is converted and what the judges hear, of the sets of local/prepare_data.sh:
#   parallel_unseen  sentences that all read, by the unseen speakers: sources and references
#   natural          all natural speech of the unseen speakers
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../../path.sh"
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 1 ] || usage

steps=$TRIVIUM_ROOT/steps data=$1
if [ ! -f "$data/parallel/wav.scp" ] || [ ! -f "$data/lists/unseen.spks" ]; then
  echo "conversion_sets.sh: $data: parallel/wav.scp or lists/unseen.spks is not there: converted are texts" \
    "001 to 024 read by unseen speakers: run local/prepare_data.sh on a corpus that has them" >&2
  exit 1
fi
"$steps/subset_data_dir.sh" --spk-list "$data/lists/unseen.spks" "$data/parallel" "$data/parallel_unseen"
"$steps/combine_data.sh" "$data/natural" "$data/unseen" "$data/parallel_unseen"
