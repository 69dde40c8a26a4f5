#!/usr/bin/env bash
# Usage: steps/fix_data_dir.sh [options] <data-dir>
# Sorts the tables of a data directory and drops what does not fit together. Every dropped key is
# listed with its cause, the files as they were go to .backup/<n>, and nothing is written when more
# would be lost than --max-drop allows.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
utt_extra_files=       # more files keyed by utterance, blank-separated
spk_extra_files=       # more files keyed by speaker, blank-separated
max_drop=              # largest fraction to drop (empty: 0 for test* and dev*, else 0.05)
allow_empty_text=false # keep utterances without words
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 1 ] || usage

exec "$TRIVIUM_PYTHON" -m pylib.bin.fix_data_dir --utt-extra-files="$utt_extra_files" \
  --spk-extra-files="$spk_extra_files" --max-drop="$max_drop" \
  --allow-empty-text="$allow_empty_text" "$1"
