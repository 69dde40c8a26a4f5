#!/usr/bin/env bash
# Usage: steps/train.sh [options] <data-train> <data-dev> <exp-dir>
# Trains a system: pre-training (MT4SSL, HuBERT, data2vec, VATLM, AV-HuBERT), fine-tuning (CTC,
# seq2seq), phone2unit or FHVAE, as the configuration says. An unfinished run in <exp-dir> goes on
# where it was; a finished one is left alone. With --init the encoder's architecture is the
# checkpoint's. USR1 or TERM: checkpoint, exit 75.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
cmd=local/run.sh # how to run jobs
config=          # TOML file with the settings; several, parted by blanks: a later one overrides
set=             # settings that override it: section.key=value, several parted by blanks or commas
init=            # checkpoint whose encoder is the start
seed=            # seed of the run, overrides run.seed
system_name=     # name of the system in reports
preset=          # name of the preset in reports
ngpu=0           # GPUs a machine, one process each; 0 = CPU
nproc=1          # processes a machine on CPU (ngpu=0)
num_nodes=1      # machines: a job of Slurm over so many, or cmd must start the command on each
rendezvous=      # host:port of the first machine, for num_nodes > 1; Slurm: empty
threads=1        # CPU threads a process
plan=false       # print batch, updates and memory, and do not train
dry_run=false    # print the command lines of the training: sbatch's or qsub's, srun's, torchrun's
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
[ $# -eq 3 ] || usage

exp=$3
arguments=(--device cpu)
if [ "$ngpu" -gt 0 ]; then
  arguments=(--device cuda)
  nproc=$ngpu
fi
[ -z "$config" ] || arguments+=(--config "$config")
[ -z "$set" ] || arguments+=(--set "$set")
[ -z "$init" ] || arguments+=(--init "$init")
[ -z "$seed" ] || arguments+=(--seed "$seed")
[ -z "$system_name" ] || arguments+=(--system-name "$system_name")
[ -z "$preset" ] || arguments+=(--preset "$preset")

export OMP_NUM_THREADS=$threads
if [ "$plan" = true ]; then
  "$TRIVIUM_PYTHON" -m pylib.bin.train --plan "${arguments[@]}" "$@"
  exit 0
fi
launch=("$TRIVIUM_PYTHON" -m pylib.jobs.torchrun --nproc "$nproc" --nodes "$num_nodes" --marker "$exp/preempted")
[ -z "$rendezvous" ] || launch+=(--rendezvous "$rendezvous")
resources=()
[ "$ngpu" -eq 0 ] || resources=(--gpu "$ngpu")
if [ "$num_nodes" -gt 1 ] && [ "${CMD_BACKEND:-local}" = slurm ]; then
  resources+=(--nodes "$num_nodes")
  launch+=(--srun) # on every machine of the job
fi
read -ra cmd_words <<<"$cmd"
if [ "$dry_run" = true ]; then
  # a command of the user's own does not know how to print
  if [[ ${cmd_words[0]} == */run.sh ]]; then
    "${cmd_words[@]}" --dry-run true "${resources[@]}" "$exp/log/train.log" "${launch[@]}"
  fi
  "${launch[@]}" --print -- pylib.bin.train "${arguments[@]}" "$@"
  exit 0
fi
"${cmd_words[@]}" "${resources[@]}" "$exp/log/train.log" \
  "${launch[@]}" -- pylib.bin.train "${arguments[@]}" "$@"
