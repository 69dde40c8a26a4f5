#!/usr/bin/env bash
# Usage: steps/convert_checkpoint.sh [options] <in> <out>
# Makes a Trivium checkpoint, for steps/train.sh --init and steps/dump_feats.sh, of a HuBERT,
# data2vec-audio or MT4SSL of others: a directory of transformers (config.json and weights), a
# fairseq pre-training checkpoint, a state dict of torchaudio. Or of a Trivium checkpoint with the
# waveform front end one of those: <out> is then a directory for transformers, a file for the others.
# Nothing in <in> is executed.
# e.g.: steps/convert_checkpoint.sh hubert_base_ls960.pt exp/hubert_base.pt
#       steps/convert_checkpoint.sh exp/pretrain/checkpoint_last.pt exp/pretrain/transformers
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
from=auto      # trivium, transformers, fairseq, torchaudio; auto = what the file says
to=auto        # the same; auto = transformers for a Trivium checkpoint, trivium for others
heads=0        # attention heads of a torchaudio model, whose file does not say; 0 = as published
norm=auto      # post or pre, where its norms stand; auto = pre where each convolution has a norm
normalise=auto # true or false: it reads normalised waveforms; auto = what the file says
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 2 ] || usage

"$TRIVIUM_PYTHON" -m pylib.bin.convert_checkpoint --from "$from" --to "$to" --heads "$heads" \
  --norm "$norm" --normalise "$normalise" "$@"
