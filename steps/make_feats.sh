#!/usr/bin/env bash
# Usage: steps/make_feats.sh [options] <data-dir> <ark-dir> [<data-dir> <ark-dir>...]
# Computes log-mel filter banks (80-d, <data-dir>/feats.scp), MFCC with deltas (39-d,
# <data-dir>/mfcc.scp), or log-magnitude features that can be turned back into sound: 80 mels
# (<data-dir>/logmel.scp), 201 or 200 bins (<data-dir>/logspec.scp), or the 26 log filter banks of
# audio-visual models (<data-dir>/logfbank.scp); 100 frames a second, with the description beside
# them (.json), and, but for logfbank, utt2num_frames and frame_shift. All utterances are made or
# the step fails and names the others. Each job takes its part of every data directory; logs lie in
# the first ark directory.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
nj=4             # number of jobs
cmd=local/run.sh # how to run jobs
kind=fbank       # fbank, mfcc, logmel, logspec, logspec200 or logfbank
compression=0    # Kaldi's ark compression: 0 none (fast to read), 3 two bytes a number
resample=false   # convert audio of another rate to 16 kHz instead of refusing it
mix=false        # average the channels of the audio instead of refusing several
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
. "$TRIVIUM_ROOT/local/shards.sh"
[ $# -ge 2 ] && [ $(($# % 2)) -eq 0 ] || usage

read -ra cmd_words <<<"$cmd"
make=("$TRIVIUM_PYTHON" -m pylib.bin.make_feats --kind "$kind" --compression "$compression"
  --resample "$resample" --mix "$mix")
shards "$2/log/make_$kind.JOB.log" "${make[@]}" "$@"
