#!/usr/bin/env bash
# Usage: steps/compute_cmvn.sh [options] <data-dir>
# Writes the mean and the standard deviation of every feature over all frames of a training set,
# <data-dir>/<feats>_cmvn.json: a system trained on these features takes them into its checkpoint.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
feats=logmel # name of the features (the stem of their scp)
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 1 ] || usage

"$TRIVIUM_PYTHON" -m pylib.bin.compute_cmvn --feats "$feats" "$1"
