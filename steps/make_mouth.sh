#!/usr/bin/env bash
# Usage: steps/make_mouth.sh [options] <data-dir> <out-data-dir> <ark-dir>
# Cuts the mouths out of the videos of a data directory (video.scp, 25 frames a second): 96 x 96 grey
# pictures, upright, centred, of one size, in mouth.scp of a new data directory that is otherwise a
# copy. How well each went is in its mouth_quality: share of frames with a face, width of the mouth
# (pixels of the video), longest run of frames without a face, weight of the next face, largest
# movement. Clips without a usable mouth are left out, counted, and listed in mouth_excluded.txt.
# e.g.: steps/make_mouth.sh --nj 8 data/test data/mouth/test exp/feats/mouth_test
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
nj=4             # number of jobs
cmd=local/run.sh # how to run jobs
every=10         # frames between two searches for the face; it is followed between
landmarks=5      # points of a face: 5 (eye corners, nose) or 68
model_68=''      # shape predictor with 68 points for dlib, yours: none is brought along
mean_face=''     # json of another mean face, see python -m pylib.bin.make_mean_face
window=13        # frames over which the points are averaged, for turn and scale (for the place 5 at most)
min_detected=0.5 # least share of frames with a face
max_gap=25       # most frames in a row without one
min_mouth=12     # least width of the mouth, pixels of the video
second_face=0.7  # left out if a second face has this part of the first one's size and presence
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 3 ] || usage

read -ra cmd_words <<<"$cmd"
mouth=("$TRIVIUM_PYTHON" -m pylib.bin.make_mouth --every "$every" --landmarks "$landmarks"
  --model-68 "$model_68" --mean-face "$mean_face" --window "$window" --min-detected "$min_detected"
  --max-gap "$max_gap" --min-mouth "$min_mouth" --second-face "$second_face")
"${cmd_words[@]}" JOB=1:"$nj" "$3/log/make_mouth.JOB.log" "${mouth[@]}" --shard "JOB/$nj" "$@"
"${mouth[@]}" --merge "$nj" "$@"
