#!/usr/bin/env bash
# Usage: local/run.sh [options] [JOB=1:N] [options] <log-file> <command>...
# Runs one job or an array of jobs, in Kaldi's grammar: `local/run.sh --help`. On this machine, or
# where CMD_BACKEND says: local, slurm, sge, ssh.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
exec "$TRIVIUM_PYTHON" -S -m pylib.jobs.cmd "${CMD_BACKEND:-local}" "$0" "$@"
