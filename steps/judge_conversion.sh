#!/usr/bin/env bash
# Usage: steps/judge_conversion.sh [options] <natural-data> <trials> <converted-data> <out.json>
# Judges conversions of steps/convert.sh by systems that were not trained here: accepted as target
# and as source, EER of genuine against converted (Resemblyzer); quality (DNSMOS); where
# <natural-data> has the target's reading of the same words, mel-cepstral distortion and F0; with
# --bona-fide, how well a detector tells conversions from copy synthesis. <trials> - for none.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
nj=1             # number of jobs
cmd=local/run.sh # how to run jobs
judges=auto      # of speaker,quality,parallel,spoof; auto: all that have what they need
threshold=       # JSON of steps/judge_natural.sh; default: computed from <trials>
enrol=10         # natural utterances that each converted one is compared with, one by one
quality_utts=100 # utterances whose quality is predicted, drawn by their names (0 = all): slow
bona_fide=       # copy synthesis (method source or target) by the same vocoder, for the detector
spoof_train=     # conversions of other systems that the detector trains on too, a list
asr_judge=       # directory of a faster-whisper model that counts word errors
seed=0           # of the detector
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
. "$TRIVIUM_ROOT/local/shards.sh"
[ $# -eq 4 ] || usage

read -ra cmd_words <<<"$cmd"
judge=("$TRIVIUM_PYTHON" -m pylib.bin.judge_conversion --judges "$judges" --enrol "$enrol"
  --seed "$seed" --spoof-train "$spoof_train")
[ -z "$threshold" ] || judge+=(--threshold "$threshold")
[ -z "$bona_fide" ] || judge+=(--bona-fide "$bona_fide")
[ -z "$asr_judge" ] || judge+=(--asr-judge "$asr_judge")
plan=$("${judge[@]}" --plan "$@")
kinds=${plan##*kinds }
if [ -n "$kinds" ]; then
  hear=("$TRIVIUM_PYTHON" -m pylib.bin.judge_utts --kinds "$kinds" --quality-utts "$quality_utts")
  shards "$3/judges/log/judge.JOB.log" "${hear[@]}" "$1" "$3"
fi
"${judge[@]}" "$@"
