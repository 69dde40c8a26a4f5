#!/usr/bin/env bash
# Usage: steps/judge_natural.sh [options] <natural-data> <trials> <out.json>
# What the judges of steps/judge_conversion.sh make of natural speech: the EER of the speaker encoder
# (Resemblyzer) on <trials>, its threshold, above which converted speech counts as accepted, and the
# predicted quality (DNSMOS). What was heard is kept in <natural-data> and not heard again.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
nj=1             # number of jobs
cmd=local/run.sh # how to run jobs
quality=true     # predict the quality too
quality_utts=100 # of so many utterances at most, drawn by their names (0 = all): it is slow
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
. "$TRIVIUM_ROOT/local/shards.sh"
[ $# -eq 3 ] || usage

kinds=speaker
[ "$quality" = false ] || kinds=speaker,quality
read -ra cmd_words <<<"$cmd"
hear=("$TRIVIUM_PYTHON" -m pylib.bin.judge_utts --kinds "$kinds" --quality-utts "$quality_utts")
shards "$1/judges/log/judge.JOB.log" "${hear[@]}" "$1"
"$TRIVIUM_PYTHON" -m pylib.bin.judge_natural --quality "$quality" "$1" "$2" "$3"
