#!/usr/bin/env bash
# Usage: steps/subset_data_dir.sh [options] <source-dir> <num-utt> <dest-dir>
#        steps/subset_data_dir.sh --utt-list F|--spk-list F <source-dir> <dest-dir>
# A part of a data directory, every file of it. Without a selection the utterances are spread evenly
# through the sorted list, the same ones each time; more than there are is an error.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
speakers=false # whole speakers, shuffled (--seed), until there are <num-utt> utterances
per_spk=false  # <num-utt> utterances of each speaker, evenly spaced
shortest=false # the shortest utterances
first=false    # the first utterances
last=false     # the last utterances
spk_list=      # keep the speakers of this list
utt_list=      # keep the utterances of this list
seed=          # shuffle the utterances with this seed instead of spacing them evenly
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 2 ] || [ $# -eq 3 ] || usage

exec "$TRIVIUM_PYTHON" -m pylib.bin.subset_data_dir --speakers="$speakers" --per-spk="$per_spk" \
  --shortest="$shortest" --first="$first" --last="$last" --spk-list="$spk_list" \
  --utt-list="$utt_list" --seed="$seed" "$@"
