#!/usr/bin/env bash
# Usage: steps/swap_clips.sh [options] <decode-dir>
# What a recogniser would guess without input: <decode-dir>_other, in which every clip has the words
# that were read from another clip, half the set away. Scored by steps/score_wer.sh as any decoding,
# it says how far the language alone carries. Nothing is decoded again.
# e.g.: steps/swap_clips.sh exp/ft/decode_test_v   # makes exp/ft/decode_test_v_other
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
cmd=local/run.sh # how to run jobs
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 1 ] || usage

read -ra cmd_words <<<"$cmd"
"${cmd_words[@]}" "$(dirname "$1")/log/swap_clips_$(basename "$1").log" \
  "$TRIVIUM_PYTHON" -m pylib.bin.swap_clips "$1"
