#!/usr/bin/env bash
# Usage: local/probe_content.sh [options] <train> <test> <work-dir> <out-prefix>
# Linear phone probes of features: fitted on all of <train> and judged on <test>
# (<out-prefix>.json), and the mismatch gap: fitted on the men of <train>, judged on the men
# (<out-prefix>_m.json) and on the women (<out-prefix>_f.json) of <test>.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../../path.sh"
# options
cmd=local/run.sh # how to run jobs
feats=z1,z2      # stems of the features
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 4 ] || usage

train=$1 test=$2 work=$3 out=$4
mkdir -p "$work"
subset() { # subset <data-dir> <m|f>: its utterances by speakers of that gender
  awk -v sex="$2" '$2 == sex { print $1 }' "$1/spk2gender" >"$work/$2.list"
  if [ ! -s "$work/$2.list" ]; then
    echo "probe_content: $1/spk2gender: no speaker of gender $2: the gap needs both" >&2
    exit 1
  fi
  "$TRIVIUM_ROOT/steps/subset_data_dir.sh" --spk-list "$work/$2.list" "$1" "$work/$(basename "$1")_$2"
}
subset "$train" m
probes=("$train" "$test" "$out.json")
for sex in m f; do
  subset "$test" "$sex"
  probes+=("$work/$(basename "$train")_m" "$work/$(basename "$test")_$sex" "${out}_$sex.json")
done
"$TRIVIUM_ROOT/steps/probe_phones.sh" --cmd "$cmd" --feats "$feats" "${probes[@]}"
