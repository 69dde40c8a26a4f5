#!/usr/bin/env bash
# Sourced by recipes: how jobs are run. train_cmd, decode_cmd and cuda_cmd are a command plus options
# in Kaldi's grammar; each can be set in the environment, so that a run.pl or slurm.pl of your own
# drops in: train_cmd="slurm.pl --mem 4G" bash egs/librispeech/run.sh. CMD_BACKEND chooses ours.

case ${CMD_BACKEND:-local} in
  local) _cmd_default=local/run.sh ;;
  *)
    echo "local/cmd.sh: CMD_BACKEND=$CMD_BACKEND is not there yet, only local: unset it, or set" \
      "train_cmd, decode_cmd and cuda_cmd to a command of your own" >&2
    return 1
    ;;
esac
export train_cmd="${train_cmd:-$_cmd_default}"   # CPU work in shards: features, labels
export decode_cmd="${decode_cmd:-$_cmd_default}" # decoding and scoring
export cuda_cmd="${cuda_cmd:-$_cmd_default}"     # training
unset _cmd_default
