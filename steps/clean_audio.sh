#!/usr/bin/env bash
# Usage: steps/clean_audio.sh [options] <data-dir> <out-data-dir> <audio-dir>
# Makes the recordings of a data directory alike: one rate, no rumble, no silence around, one level,
# as 16-bit flac in <audio-dir>, with a new data directory (text, phone times and all). --chunk cuts
# them into <utterance>-c01, -c02, ... (without text). What cannot be used is counted, and listed in
# <audio-dir>/excluded.txt.
# e.g.: steps/clean_audio.sh --nj 8 --chunk 4 data/train_clean_100 data/chunks data/local/chunks
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
nj=4             # number of jobs
cmd=local/run.sh # how to run jobs
rate=16000       # Hz of the result
highpass=50.0    # Hz, corner of the high-pass, 0 = none
trim_db=35.0     # ends this much below the loudest frame are cut off, dB, 0 = none
keep=0.1         # seconds of them that are kept
level='-27.0'    # RMS in dB of full scale, 0 = as it is
min=0.5          # shorter ones are left out, seconds
chunk=0.0        # cut into chunks of so many seconds, 0 = do not cut
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 3 ] || usage

read -ra cmd_words <<<"$cmd"
clean=("$TRIVIUM_PYTHON" -m pylib.bin.clean_audio --rate "$rate" --highpass "$highpass"
  --trim-db "$trim_db" --keep "$keep" --level="$level" --min "$min" --chunk "$chunk")
"${cmd_words[@]}" JOB=1:"$nj" "$3/log/clean_audio.JOB.log" "${clean[@]}" --shard "JOB/$nj" "$@"
"${clean[@]}" --merge "$nj" "$@"
