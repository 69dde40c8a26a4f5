#!/usr/bin/env bash
# Usage: steps/relabel.sh [options] <checkpoint> <kmeans-dir> <data-train> [<data-dir>...]
# The next iteration's labels: features of one layer of a model, k-means fitted to those of
# <data-train>, and labels of all sets, in copies of the data directories named by --suffix. The
# directories that were there keep their labels, so the models trained on them stay up to date.
# An audio-visual model reads the streams that a directory has (audio alone: video is zero).
# e.g.: steps/relabel.sh --layer 6 --suffix _it2 exp/pretrain/checkpoint_last.pt exp/kmeans_it2 \
#         data/train data/dev       # makes data/train_it2, data/dev_it2
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
nj=4             # number of jobs
cmd=local/run.sh # how to run jobs
suffix=_it2      # appended to the names of the copies
layer=6          # 0 = input of the first block, l = output of block l
clusters=500     # number of units
fraction=1.0     # share of <data-train>'s utterances that k-means is fitted to
seed=0           # seed of k-means
rate=50          # labels a second: the next model's frame rate; 25 for audio-visual models
modality=auto    # streams that an audio-visual model reads; auto = audio and video that are there
device=cpu       # cpu, cuda or auto
gpu=0            # GPUs asked for each job
keep_feats=true  # keep the features when the labels are made; they take 3 kB a frame of a base model
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -ge 3 ] || usage
[ -n "$suffix" ] || usage_error "--suffix must not be empty: it names the copies"

checkpoint=$1 kmeans=$2
shift 2
train=$1$suffix
array=(--cmd "$cmd" --nj "$nj")
steps=$TRIVIUM_ROOT/steps
feats=hidden$layer
case $modality in auto | av) ;; *) feats=${feats}_$modality ;; esac

places=()
for data in "$@"; do
  # What an earlier run of this step made is made again; it needs no backup.
  rm -f "$data$suffix/$feats".{scp,json} "$data$suffix"/labels.{scp,json}
  # Clips without a transcript, such as VoxCeleb2's, are labelled too: text is not looked at here.
  "$steps/copy_data_dir.sh" --validate-opts="--allow-empty-text" "$data" "$data$suffix"
  places+=("$data$suffix" "$kmeans/feats/$(basename "$data")")
done
"$steps/dump_feats.sh" "${array[@]}" --layer "$layer" --device "$device" --gpu "$gpu" \
  --modality "$modality" "$checkpoint" "${places[@]}"
"$steps/train_kmeans.sh" --cmd "$cmd" --feats "$feats" --clusters "$clusters" --seed "$seed" \
  --fraction "$fraction" "$train" "$kmeans"
"$steps/dump_labels.sh" "${array[@]}" --rate "$rate" "${@/%/$suffix}" "$kmeans"
[ "$keep_feats" = false ] || exit 0
for data in "$@"; do
  # The scp first: none may point to arks that are gone. Logs stay.
  rm -f "$data$suffix/$feats".{scp,json}
  rm -rf "$kmeans/feats/$(basename "$data")/$feats".*.n*
done
