#!/usr/bin/env bash
# Usage: steps/copy_data_dir.sh [options] <source-dir> <dest-dir>
# Copies a data directory, with other ids if asked, and validates the copy. Files that only the
# destination had are kept in its .backup/<n>.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
spk_prefix=    # before every speaker id
utt_prefix=    # before every utterance id
spk_suffix=    # behind every speaker id
utt_suffix=    # behind every utterance id
validate_opts= # options of validate_data_dir.sh, blank-separated: --validate-opts="--non-print"
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 2 ] || usage

exec "$TRIVIUM_PYTHON" -m pylib.bin.copy_data_dir --spk-prefix="$spk_prefix" \
  --utt-prefix="$utt_prefix" --spk-suffix="$spk_suffix" --utt-suffix="$utt_suffix" \
  --validate-opts="$validate_opts" "$1" "$2"
