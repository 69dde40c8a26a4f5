#!/usr/bin/env bash
# Usage: local/check_cluster.sh [options]
# Submits an array of two small jobs the way recipes do, and explains what is wrong where it fails:
# programs, site options, a directory that the machines do not share, a Python that is not there.
# e.g.: CMD_BACKEND=slurm local/check_cluster.sh; run it in the directory that experiments will use
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
cmd=local/run.sh # how to run jobs; CMD_BACKEND says where it runs them
gpu=0            # GPUs asked for each job
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
. "$TRIVIUM_ROOT/local/lib.sh"
[ $# -eq 0 ] || usage

backend=${CMD_BACKEND:-local}
log "back end $backend, command $cmd, directory $PWD"
case $backend in
  slurm) programs=(sbatch squeue scancel scontrol) ;;
  sge) programs=(qsub qstat qdel) ;;
  ssh) programs=(ssh) ;;
  *) programs=() ;;
esac
for program in "${programs[@]}"; do
  command -v "$program" >/dev/null || die "no $program in PATH: log in to a machine that can submit," \
    "or load the module of the scheduler"
done
for site in "conf/slurm.conf" "$TRIVIUM_ROOT/local/conf/slurm.conf" conf/queue.conf \
  "$TRIVIUM_ROOT/local/conf/queue.conf"; do
  [ ! -f "$site" ] || log "site options: $site"
done

work=$(mktemp -d "$PWD/check_cluster.XXXXXX")
trap 'rm -rf "$work"' EXIT
ask='import os, socket, sys; sys.path.insert(0, os.environ["PYTHONPATH"].split(":")[0])
import torch
print(socket.gethostname(), sys.version.split()[0], torch.__version__, torch.cuda.device_count(), "GPUs")'
start=$SECONDS
read -ra words <<<"$cmd"
resources=()
[ "$gpu" -eq 0 ] || resources=(--gpu "$gpu")
if ! "${words[@]}" "${resources[@]}" JOB=1:2 "$work/log/job.JOB.log" "$TRIVIUM_PYTHON" -c "$ask"; then
  warn "the array failed. Most often:"
  warn "- no log: $PWD is not on a disk that the machines share: work in one that is"
  warn "- 'No such file' or 'No module': $TRIVIUM_PYTHON is not there on the machines: put the repository," \
    "with .venv, on the shared disk, or set TRIVIUM_PYTHON to an environment that is there"
  warn "- refused by the scheduler: options of the site are missing: copy local/conf/slurm.conf.example" \
    "(or queue.conf.example) to local/conf/slurm.conf and name partitions and memory as your site does"
  warn "- ssh asks for a password or does not know the machine: set up keys, log in there once by hand"
  warn "- it waits for ever: ask for less (--gpu 0), and look at squeue or qstat"
  exit 1
fi
for job in 1 2; do
  log "job $job ran on $(grep -v '^#' "$work/log/job.$job.log" | tail -n 1)"
done
log "two jobs there and back in $((SECONDS - start)) s: recipes can use --cmd-backend $backend"
