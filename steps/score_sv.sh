#!/usr/bin/env bash
# Usage: steps/score_sv.sh [options] <latents-train> <latents-test> <trials> <out.json>
# Speaker verification with the latents that steps/dump_latents.sh wrote: EER, EER of same-gender
# trials and minDCF by cosine, centred cosine and LDA (fitted on <latents-train>, other speakers).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
cmd=local/run.sh # how to run jobs
latent=svector   # svector, or z1mean: how much of the speaker the content latent still knows
lda_dim=24       # directions of the LDA, at most training speakers - 1
draws=1000       # of speakers, for the intervals
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 4 ] || usage

read -ra cmd_words <<<"$cmd"
"${cmd_words[@]}" "${4%.json}.log" "$TRIVIUM_PYTHON" -m pylib.bin.score_sv --latent "$latent" \
  --lda-dim "$lda_dim" --draws "$draws" "$@"
