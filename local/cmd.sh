#!/usr/bin/env bash
# Sourced by those who write their own recipes: how jobs are run. train_cmd, decode_cmd and cuda_cmd
# are a command plus options in Kaldi's grammar; each can be set in the environment, so that a run.pl
# or slurm.pl of your own drops in. CMD_BACKEND (local, slurm, sge, ssh) tells local/run.sh where.

export train_cmd="${train_cmd:-local/run.sh}"   # CPU work in shards: features, labels
export decode_cmd="${decode_cmd:-local/run.sh}" # decoding and scoring
export cuda_cmd="${cuda_cmd:-local/run.sh}"     # training
