#!/usr/bin/env bash
# Usage: steps/convert.sh [options] <data-dir> <pairs> <out-data-dir>
# Converts the source utterances of a pairs list (steps/make_pairs.sh) to the voices of their
# targets and makes a data directory of it: audio in <out-data-dir>/wav, utt2spk with the targets,
# the texts of what is heard, the utterances it came from (source, carrier, target_refs),
# convert.json, and index.html to listen to some. Needs features of <data-dir> that can be turned
# into sound (steps/make_feats.sh --kind logmel), those that the model was trained on.
# Methods: shift, replace (FHVAE); source, target (copy synthesis); meanvar (per-speaker mean and
# variance); knn_mel, knn_z1 (mean of the 4 nearest frames of the target, in features or content).
# e.g.: steps/convert.sh --checkpoint exp/fhvae/checkpoint_best.pt data/unseen data/unseen/pairs exp/fhvae/converted
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
nj=1               # number of jobs
cmd=local/run.sh   # how to run jobs
method="shift"     # shift, replace, source, target, meanvar, knn_mel or knn_z1
vocoder=griffinlim # griffinlim (from the features alone) or world (source's, envelope and pitch changed)
checkpoint=        # of an fhvae model: for shift, replace and knn_z1
feats=logmel       # name of the features, for methods without a model
system=            # name in tables instead of the checkpoint's or the method's
iterations=60      # of Griffin-Lim
seed=0             # of Griffin-Lim's first phases
dump=false         # keep the converted features (converted.scp)
examples=6         # conversions on the listening page
device=cpu         # cpu, cuda or cuda:N
gpu=0              # GPUs asked for each job
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
. "$TRIVIUM_ROOT/local/shards.sh"
[ $# -eq 3 ] || usage

out=$3
read -ra cmd_words <<<"$cmd"
convert=("$TRIVIUM_PYTHON" -m pylib.bin.convert --method "$method" --vocoder "$vocoder"
  --feats "$feats" --iterations "$iterations" --seed "$seed" --dump "$dump"
  --examples "$examples" --device "$device")
[ -z "$checkpoint" ] || convert+=(--checkpoint "$checkpoint")
[ -z "$system" ] || convert+=(--system "$system")
[ "$gpu" -eq 0 ] || cmd_words+=(--gpu "$gpu")
mkdir -p "$out/log"
rm -f "$out/wav.scp" "$out/convert.json"
shards "$out/log/convert.JOB.log" "${convert[@]}" "$@"
