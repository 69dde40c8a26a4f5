#!/usr/bin/env bash
# Usage: local/align_content.sh [options] <train> <unseen> <ark-dir>
# Phone times of two data directories, <train>/phones.ctm and <unseen>/phones.ctm, where a corpus comes
# without: monophone models trained on <train> align both, with CMUdict's pronunciations.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../../path.sh"
# options
nj=2             # number of jobs
cmd=local/run.sh # how to run jobs, Kaldi's grammar
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 3 ] || usage

train=$1 unseen=$2 arks=$3
steps=$TRIVIUM_ROOT/steps array=(--cmd "$cmd" --nj "$nj")
"$steps/make_feats.sh" "${array[@]}" --kind mfcc "$train" "$arks/mfcc_train" "$unseen" "$arks/mfcc_unseen"
"$steps/align_phones.sh" "${array[@]}" "$train" "$arks"
"$steps/align_phones.sh" "${array[@]}" --hmm "$arks/hmm_$(basename "$train")" "$unseen" "$arks"
"$TRIVIUM_PYTHON" "$TRIVIUM_ROOT/egs/vctk/local/write_ctm.py" "$train" "$unseen"
