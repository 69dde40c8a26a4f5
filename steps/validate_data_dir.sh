#!/usr/bin/env bash
# Usage: steps/validate_data_dir.sh [options] <data-dir>...
# Finds everything that is wrong with data directories in one run: tables, keys, order, transcripts,
# durations, and what their scp files point at. One line a defect, `file:line: rule: what: how to
# fix`, exit 1 if there is any. --check-audio opens every file, full decodes it too.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
no_feats=false              # features are not required and not looked at
no_text=false               # transcripts are not required and not looked at
no_wav=false                # audio is not required and not looked at
no_spk_sort=false           # speakers may sort otherwise than utterances
non_print=false             # control characters in transcripts are allowed
allow_empty_text=false      # utterances without words are allowed
allow_duplicate_audio=false # two utterances may be the same audio
check_audio=none            # none, header (and the end of each file) or full
check_ark=header            # none, header or full; labels are always read but with none
rate=0                      # Hz that all audio must have, 0 = that of most files
disjoint=none               # what several directories must not share: none, speakers or utterances
nj=4                        # processes for --check-audio
json=                       # write what was found to this file
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -ge 1 ] || usage

exec "$TRIVIUM_PYTHON" -m pylib.bin.validate_data_dir \
  --no-feats="$no_feats" --no-text="$no_text" --no-wav="$no_wav" --no-spk-sort="$no_spk_sort" \
  --non-print="$non_print" --allow-empty-text="$allow_empty_text" \
  --allow-duplicate-audio="$allow_duplicate_audio" --check-audio="$check_audio" \
  --check-ark="$check_ark" --rate="$rate" --disjoint="$disjoint" --nj="$nj" --json="$json" "$@"
