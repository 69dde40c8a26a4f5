#!/usr/bin/env bash
# Usage: local/download.sh [options] <directory>
# Fetches LibriSpeech (60 GB packed; to <directory>/LibriSpeech), its 4-gram LM and lexicon, and
# Libri-Light's labelled splits. Goes on where an earlier run stopped; checks md5 or sha256; what is
# there already is left alone. A <directory> that is itself called LibriSpeech is taken as the corpus's place.
# e.g.: local/download.sh --parts "train-clean-100 dev-clean test-clean lm-text" /corpora
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../../path.sh"
# options
parts="train-clean-100 train-clean-360 train-other-500 dev-clean dev-other test-clean test-other lm-4gram lexicon librilight" # names of local/downloads.txt
mirror=https://www.openslr.org                                                                                                # of OpenSLR, such as https://openslr.elda.org
librilight=https://dl.fbaipublicfiles.com                                                                                     # server of Libri-Light
keep_archives=false                                                                                                           # keep the tar files after unpacking
retries=5                                                                                                                     # broken connections in a row before giving up
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 1 ] || usage

directory=${1%/}
[ "$(basename "$directory")" != LibriSpeech ] || directory=$(dirname "$directory")
read -ra names <<<"$parts"
"$TRIVIUM_PYTHON" -m pylib.bin.download --keep-archives "$keep_archives" --retries "$retries" \
  --mirror "https://www.openslr.org=$mirror" \
  --mirror "https://dl.fbaipublicfiles.com=$librilight" \
  "$TRIVIUM_ROOT/egs/librispeech/local/downloads.txt" "$directory" "${names[@]}"
