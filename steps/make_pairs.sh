#!/usr/bin/env bash
# Usage: steps/make_pairs.sh [options] <data-dir> <pairs-file>
# Draws voice conversions between the speakers of a data directory, half of each gender where there
# are. One line each, `<source-utt> <target-speaker> <ref-utt,ref-utt,...>`; references are of other
# texts than the source. Speakers with one utterance are left out and counted.
# e.g.: steps/make_pairs.sh --train data/train data/unseen data/unseen/pairs
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
seed=1        # of the draw
sources=10    # speakers to convert from
targets=10    # speakers to convert to; others than the sources where there are enough
utterances=4  # of each pair of speakers
references=10 # utterances of the target, at most
spk_list=     # take only the speakers of this list
train=        # data directory of training: refused when it has one of the speakers
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 2 ] || usage

extra=()
[ -z "$spk_list" ] || extra+=(--spk-list "$spk_list")
[ -z "$train" ] || extra+=(--train "$train")
exec "$TRIVIUM_PYTHON" -m pylib.bin.make_pairs --seed "$seed" --sources "$sources" \
  --targets "$targets" --utterances "$utterances" --references "$references" \
  ${extra[@]+"${extra[@]}"} "$@"
