#!/usr/bin/env bash
# Usage: steps/combine_data.sh [options] <dest-dir> <source-dir>...
# Joins data directories. All sources are checked before the destination is touched; it must not be
# one of them. A file that some source lacks is left out, with a note.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
extra_files=   # more files keyed by utterance, blank-separated
skip_fix=false # do not require that speakers sort as their utterances
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -ge 2 ] || usage

exec "$TRIVIUM_PYTHON" -m pylib.bin.combine_data --extra-files="$extra_files" \
  --skip-fix="$skip_fix" "$@"
