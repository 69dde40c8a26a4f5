#!/usr/bin/env bash
# Usage: local/prepare_data.sh [options] <lrs3-dir> <data-dir>
# Makes audio-visual data directories of LRS3, of LRS2, of a part of them, or of the built-in corpus
# in LRS3's layout: <data-dir>/{pretrain,labelled,dev,test}; long clips of pretrain are cut at
# pauses, sound and video are equally long to the sample. Beside them audiotext, audiotext_dev,
# onlyaudio and onlytext, excluded.txt (what was left out and why), irregular.txt (what was taken though
# frames or lengths were not as they should be) and sets.json (counts).
# e.g.: local/prepare_data.sh --nj 8 --tedlium /corpora/TEDLIUM_release-3 /corpora/LRS3 data
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../../path.sh"
# options
nj=2             # number of jobs
cmd=local/run.sh # how to run jobs, Kaldi's grammar
seed=1           # of the validation set
labelled=30h     # labelled set: 30h (trainval) or 433h (pretrain too), both without dev
valid_list=      # clips of trainval that are dev; empty: 1,200 (at most a tenth) by a hash of the ids
vox=             # VoxCeleb2 tree (dev/mp4) whose clips join pretrain, without words; empty: none
vox_list=        # list of its clips to use; empty: all
tedlium=         # TED-LIUM tree for audiotext; empty: sound and text of labelled and dev
audio_dir=       # tree of audio files for onlyaudio; empty: none
text=            # lines of text for onlytext, may be gzipped; empty: none
max_seconds=20.0 # longer clips are left out (not of test), longer audio-only files are cut; 0 = no limit
max_skew=1.0     # frames, above one, that sound and video may differ in length; above one is listed
fps=resample     # video that is not of 25 constant frames a second: resample or refuse
check=probe      # of each video: probe (packets and the first frame) or decode (all frames)
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 2 ] || usage

data=$2
options=(--seed "$seed" --labelled "$labelled" --valid-list "$valid_list" --vox "$vox"
  --vox-list "$vox_list" --tedlium "$tedlium" --audio-dir "$audio_dir" --text "$text"
  --max-seconds "$max_seconds" --max-skew "$max_skew" --fps "$fps" --check "$check" --nj "$nj")
prepare=("$TRIVIUM_PYTHON" "$TRIVIUM_ROOT/egs/lrs3/local/prepare_lrs3.py")
read -ra cmd_words <<<"$cmd"
mkdir -p "$data/log"
"${cmd_words[@]}" "$data/log/scan.log" "${prepare[@]}" scan "${options[@]}" "$@"
"${cmd_words[@]}" JOB=1:"$nj" "$data/log/cut.JOB.log" \
  "${prepare[@]}" cut "${options[@]}" --shard "JOB/$nj" "$@"
"${cmd_words[@]}" "$data/log/write.log" "${prepare[@]}" write "${options[@]}" "$@"
grep -hv '^#' "$data/log/scan.log" "$data/log/write.log"
