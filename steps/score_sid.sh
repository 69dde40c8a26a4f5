#!/usr/bin/env bash
# Usage: steps/score_sid.sh [options] <latents-train> <latents-test> <out.json>
# Closed-set speaker identification by logistic regression on the sequence and on the content latent
# of each utterance, fitted on <latents-train>, judged on other utterances of the same speakers.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
cmd=local/run.sh # how to run jobs
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 3 ] || usage

read -ra cmd_words <<<"$cmd"
"${cmd_words[@]}" "${3%.json}.log" "$TRIVIUM_PYTHON" -m pylib.bin.score_sid "$@"
