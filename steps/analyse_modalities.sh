#!/usr/bin/env bash
# Usage: steps/analyse_modalities.sh [options] <checkpoint> <data> <out.json>
# What each layer of an audio-visual model makes of sound, lips, both, and phones: PNMI of a small
# k-means with the phones, how often a second of one finds the same second of the other among 100,
# and points for a picture of one layer. Phone times are those of phones.ctm of <data>, or where it
# has none those that were aligned (phones.scp). Needs the model's streams in <data>
# (steps/make_feats.sh --kind logfbank, steps/make_mouth.sh, steps/align_phones.sh); phones are left
# out where phones.scp is not there, utterances without phones where it is.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
cmd=local/run.sh # how to run jobs
layers=all       # such as 0,3,6
clusters=100     # of the k-means, at most
max_frames=20000 # frames used
seconds=1.0      # length of the segments that look for each other
candidates=100   # among which one is looked for
memory_gb=1.0    # features held at once
system=          # name of the system in the rows; default: the run's
seed=            # seed in the rows and of the drawing; default: the run's
device=cpu       # cpu, cuda or auto
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 3 ] || usage

read -ra cmd_words <<<"$cmd"
analyse=("$TRIVIUM_PYTHON" -m pylib.bin.analyse_modalities --layers "$layers" --clusters "$clusters"
  --max-frames "$max_frames" --seconds "$seconds" --candidates "$candidates"
  --memory-gb "$memory_gb" --system "$system" --device "$device")
[ -z "$seed" ] || analyse+=(--seed "$seed")
"${cmd_words[@]}" "${3%.json}.log" "${analyse[@]}" "$@"
