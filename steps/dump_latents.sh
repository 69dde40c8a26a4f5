#!/usr/bin/env bash
# Usage: steps/dump_latents.sh [options] <checkpoint> <data-dir> <out-dir> [<data-dir> <out-dir>...]
# Copies a data directory and adds what an fhvae model says of it: z1.scp (mean and log-variance of
# the content at every frame) and z2.scp (mean of the voice), svector.scp and z1mean.scp (a vector
# an utterance), spk_svector.scp (a vector a speaker), and latents.json. Utterances shorter than a
# segment are left out and counted. The arks are in <out-dir>/arks. Each job takes its part of every
# data directory; logs lie beside the arks of the first.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
nj=4             # number of jobs
cmd=local/run.sh # how to run jobs
frames=true      # write z1 and z2 of every frame; false: the vectors only, much faster
hop=1            # frames between the windows of z1 and z2; frames between take the nearest
device=cpu       # cpu, cuda or auto
gpu=0            # GPUs asked for each job
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
. "$TRIVIUM_ROOT/local/shards.sh"
[ $# -ge 3 ] && [ $(($# % 2)) -eq 1 ] || usage

read -ra cmd_words <<<"$cmd"
dump=("$TRIVIUM_PYTHON" -m pylib.bin.dump_latents --frames "$frames" --hop "$hop" --device "$device")
[ "$gpu" -eq 0 ] || cmd_words+=(--gpu "$gpu")
shards "$3/arks/log/dump_latents.JOB.log" "${dump[@]}" "$@"
