#!/usr/bin/env bash
# Usage: steps/report.sh [options] <exp-dir> <out-dir>
# Gathers every score below <exp-dir> into <out-dir>: index.html (self-contained), RESULTS.md and
# summary.json, and prints the tables.
# e.g.: steps/report.sh --recipe librispeech --preset mini --corpus "built-in easy" exp exp/report
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
recipe=librispeech # name of the recipe
preset=mini        # scores of other presets are left out and listed
corpus=            # name of the corpus; "built-in ..." is labelled as such everywhere
wall=              # seconds the whole recipe took; default: the sum of its stages
results=           # also write RESULTS.md to this file
readme=            # also fill the table between the marker lines of this file
latents=           # directories of latents to draw, in one word: "dir1 dir2"; patterns too, "exp/*/latents"
conversions=       # directories of converted speech to show and play, likewise
natural=           # data directory of what was converted; default: as the conversions say
mouths=            # data directory with the mouth pictures of a decoded set, to show some of
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 2 ] || usage
[ -n "$corpus" ] || usage_error "--corpus is needed: the name of the corpus"

extra=()
[ -z "$wall" ] || extra+=(--wall "$wall")
[ -z "$results" ] || extra+=(--results "$results")
[ -z "$readme" ] || extra+=(--readme "$readme")
read -ra latent_words <<<"$latents"
read -ra conversion_words <<<"$conversions"
for word in ${latent_words[@]+"${latent_words[@]}"}; do extra+=(--latents "$word"); done
for word in ${conversion_words[@]+"${conversion_words[@]}"}; do extra+=(--conversions "$word"); done
[ -z "$natural" ] || extra+=(--natural "$natural")
[ -z "$mouths" ] || extra+=(--mouths "$mouths")
"$TRIVIUM_PYTHON" -m pylib.bin.report --recipe "$recipe" --preset "$preset" --corpus "$corpus" \
  ${extra[@]+"${extra[@]}"} "$1" "$2"
