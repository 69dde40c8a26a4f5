#!/usr/bin/env bash
# Usage: steps/align_phones.sh [options] <data-dir> <ark-dir>
# Aligns the text of <data-dir> with its speech: <data-dir>/phones.scp, 100 phone ids a second, and
# phone_runs.scp, the length of each phone. Monophone models are trained on the set itself, from
# nothing, on its 39-d MFCC (steps/make_feats.sh --kind mfcc), or taken from another set's training,
# or the phones come from a ctm of your own aligner.
# e.g.: steps/align_phones.sh --nj 8 data/audiotext data/arks
#       steps/align_phones.sh --hmm data/arks/hmm_audiotext data/audiotext_dev data/arks
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
nj=4              # number of jobs
cmd=local/run.sh  # how to run jobs
lexicon=          # pronunciations, Kaldi's or CMUdict's form, the 39 phones of CMUdict; empty: CMUdict
oov=g2p           # words it lacks: g2p (by espeak-ng's rules), or drop (the utterance gets no phones)
ctm=              # phone times by another aligner; nothing is trained
hmm=              # models trained before; empty: they are trained, in <ark-dir>/hmm_<set>
iterations=12     # of training
gaussians=4       # of a state, at most
train_minutes=120 # speech that is trained on, drawn by the seed where there is more
seed=1            # of that choice
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 2 ] || usage

data=$1
arks=$2
read -ra cmd_words <<<"$cmd"
align=("$TRIVIUM_PYTHON" -m pylib.bin.align_phones --oov "$oov" --iterations "$iterations"
  --gaussians "$gaussians" --train-minutes "$train_minutes" --seed "$seed"
  --hmm-dir "${hmm:-$arks/hmm_$(basename "$data")}")
[ -z "$lexicon" ] || align+=(--lexicon "$lexicon")
[ -z "$ctm" ] || align+=(--ctm "$ctm")
if [ -z "$hmm$ctm" ]; then
  "${cmd_words[@]}" "$arks/log/train_hmm.$(basename "$data").log" "${align[@]}" --train "$data" "$arks"
fi
"${cmd_words[@]}" JOB=1:"$nj" "$arks/log/align.$(basename "$data").JOB.log" \
  "${align[@]}" --shard "JOB/$nj" "$data" "$arks"
"${align[@]}" --merge "$nj" "$data" "$arks"
