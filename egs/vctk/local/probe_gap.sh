#!/usr/bin/env bash
# Usage: local/probe_gap.sh [options] <train> <test> <work-dir> <out-prefix>
# The mismatch gap: a linear phone probe fitted on the men of <train>, judged on the men and on the
# women of <test>. Writes <out-prefix>_m.json and <out-prefix>_f.json.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../../path.sh"
# options
cmd=local/run.sh # how to run jobs
feats=z1         # stem of the features
system=          # name of the system in the rows; default: the latents', else the features
seed=            # seed in the rows; default: the latents'
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 4 ] || usage

train=$1 test=$2 work=$3 out=$4
mkdir -p "$work"
subset() { # subset <data-dir> <m|f>: its utterances by speakers of that gender
  awk -v sex="$2" '$2 == sex { print $1 }' "$1/spk2gender" >"$work/$2.list"
  [ -s "$work/$2.list" ] || {
    echo "probe_gap: $1/spk2gender: no speaker of gender $2: the gap needs both" >&2
    exit 1
  }
  "$TRIVIUM_ROOT/steps/subset_data_dir.sh" --spk-list "$work/$2.list" "$1" "$work/$(basename "$1")_$2"
}
subset "$train" m
for sex in m f; do
  subset "$test" "$sex"
  "$TRIVIUM_ROOT/steps/probe_phones.sh" --cmd "$cmd" --feats "$feats" --system "$system" --seed "$seed" \
    "$work/$(basename "$train")_m" "$work/$(basename "$test")_$sex" "${out}_$sex.json"
done
