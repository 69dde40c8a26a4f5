#!/usr/bin/env bash
# Usage: steps/train_kmeans.sh [options] <data-dir> <kmeans-dir>
# Fits k-means to features of <data-dir>: <kmeans-dir>/centroids.npy and kmeans.json. Memory does not
# depend on the amount of audio. One k-means, fitted on the training set, labels all sets.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
cmd=local/run.sh   # how to run jobs
feats=mfcc         # features: <data-dir>/<feats>.scp (mfcc, feats, hidden6 ...)
cmvn=none          # none, utterance or speaker: mean and variance normalisation before clustering
clusters=100       # number of units
seed=0             # of starts and batches
starts=20          # k-means++ starts, the best is kept
batch_frames=10000 # frames of an update
max_epochs=100     # passes over the data at most
patience=100       # updates without improvement before stopping
pool_frames=100000 # frames shuffled together: memory is this x dimension x 4 bytes
fraction=1.0       # share of the utterances used
num_threads=1      # threads
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 2 ] || usage

read -ra cmd_words <<<"$cmd"
"${cmd_words[@]}" --num-threads "$num_threads" "$2/log/train.log" \
  "$TRIVIUM_PYTHON" -m pylib.bin.train_kmeans --feats "$feats" --cmvn "$cmvn" \
  --clusters "$clusters" --seed "$seed" --starts "$starts" --batch-frames "$batch_frames" \
  --max-epochs "$max_epochs" --patience "$patience" --pool-frames "$pool_frames" \
  --fraction "$fraction" --threads "$num_threads" "$1" "$2"
