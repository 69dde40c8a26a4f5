#!/usr/bin/env bash
# Usage: local/prepare_data.sh [options] <corpus-dir> <data-dir>
# Makes <data-dir>/{train,dev,test} of seen speakers, unseen and parallel (the texts that all read)
# of VCTK 0.92 or 0.80, of a part of it, or of the built-in corpus in its layout; the audio, made
# alike, goes to <data-dir>/audio. Beside them unseen/trials, parallel/pairs, lists/
# (utterances, unseen speakers, checksums), excluded.txt and sets.json. Where <corpus-dir> holds
# vctk-silences.0.92.txt (vctk-silence-labels), the silences that it tells are cut off first.
# e.g.: local/prepare_data.sh --nj 8 /corpora/VCTK-Corpus-0.92 data
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../../path.sh"
# options
nj=2             # number of jobs that clean the audio
cmd=local/run.sh # how to run jobs, Kaldi's grammar
mic=mic1         # microphone of 0.92: mic1 (all speakers) or mic2 (without p280, p315)
seed=1           # of splits, trials and pairs
unseen=          # list of unseen speakers; empty: conf/unseen_speakers.txt if all are there, else drawn
per_speaker=20   # utterances of a speaker in the trials, at most
sources=10       # speakers to convert from
targets=10       # speakers to convert to
utterances=4     # conversions of each pair of speakers
references=10    # utterances of the target that a conversion hears
rate=16000       # Hz of the audio made
highpass=50.0    # Hz, corner of the high-pass, 0 = none
trim_db=35.0     # ends this much below the loudest frame are cut off, dB, 0 = none
keep=0.1         # seconds of them that are kept
level='-27.0'    # RMS in dB of full scale, 0 = as it is
min=0.5          # shorter utterances are left out, seconds
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 2 ] || usage

corpus=$1 data=$2
here=$TRIVIUM_ROOT/egs/vctk/local
extra=()
[ -z "$unseen" ] || extra=(--unseen "$unseen")
prepare=("$TRIVIUM_PYTHON" "$here/prepare_vctk.py")
options=(--mic "$mic" --seed "$seed" --per-speaker "$per_speaker" --sources "$sources"
  --targets "$targets" --utterances "$utterances" --references "$references" ${extra[@]+"${extra[@]}"})
read -ra cmd_words <<<"$cmd"
mkdir -p "$data/log"
"${cmd_words[@]}" "$data/log/scan.log" "${prepare[@]}" scan "${options[@]}" "$corpus" "$data"
grep -v '^#' "$data/log/scan.log"
"$TRIVIUM_ROOT/steps/clean_audio.sh" --cmd "$cmd" --nj "$nj" --rate "$rate" \
  --highpass "$highpass" --trim-db "$trim_db" --keep "$keep" --level="$level" --min "$min" \
  "$data/local/raw" "$data/local/clean" "$data/audio"
"${cmd_words[@]}" "$data/log/split.log" "${prepare[@]}" split "${options[@]}" "$corpus" "$data"
grep -v '^#' "$data/log/split.log"
