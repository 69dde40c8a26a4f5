#!/usr/bin/env bash
# Usage: steps/dump_labels.sh [options] <data-dir> <kmeans-dir>
# Labels every frame with its nearest centroid: <data-dir>/labels.scp and labels.json. Labels of
# another k-means are replaced in one step. The features are those that the k-means was fitted to.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
nj=4             # number of jobs
cmd=local/run.sh # how to run jobs
rate=50          # labels a second: 50 for the waveform front end, 100/stack for filter banks
align=           # start (waveform) or centre (stacked filter banks); default: by rate and features
ark_dir=         # directory for the arks; default: <kmeans-dir>/labels/<set>
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 2 ] || usage

arks=${ark_dir:-$2/labels/$(basename "$1")}
read -ra cmd_words <<<"$cmd"
dump=("$TRIVIUM_PYTHON" -m pylib.bin.dump_labels --rate "$rate" --ark-dir "$arks")
[ -z "$align" ] || dump+=(--align "$align")
"${cmd_words[@]}" JOB=1:"$nj" "$arks/log/dump.JOB.log" "${dump[@]}" --shard "JOB/$nj" "$1" "$2"
"${dump[@]}" --merge "$nj" "$1" "$2"
