#!/usr/bin/env bash
# Usage: steps/dump_labels.sh [options] <data-dir> [<data-dir>...] <kmeans-dir>
# Labels every frame with its nearest centroid: <data-dir>/labels.scp and labels.json. Labels of
# another k-means are replaced in one step. The features are those that the k-means was fitted to.
# Each job takes its part of every data directory; logs lie beside the arks of the first.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
nj=4             # number of jobs
cmd=local/run.sh # how to run jobs
rate=50          # labels a second: 50 for the waveform front end, 100/stack for filter banks
align=           # start (waveform) or centre (stacked filter banks); default: by rate and features
ark_dir=         # directory for the arks of one set; default: <kmeans-dir>/labels/<set>
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
. "$TRIVIUM_ROOT/local/shards.sh"
[ $# -ge 2 ] || usage

read -ra cmd_words <<<"$cmd"
dump=("$TRIVIUM_PYTHON" -m pylib.bin.dump_labels --rate "$rate")
[ -z "$align" ] || dump+=(--align "$align")
[ -z "$ark_dir" ] || dump+=(--ark-dir "$ark_dir")
shards "${ark_dir:-${!#}/labels/$(basename "$1")}/log/dump.JOB.log" "${dump[@]}" "$@"
