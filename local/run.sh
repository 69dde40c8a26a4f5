#!/usr/bin/env bash
# Usage: local/run.sh [options] [JOB=1:N] [options] <log-file> <command>...
# Runs one job or an array of jobs on this machine, in Kaldi's grammar: `local/run.sh --help`.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
exec "$TRIVIUM_PYTHON" -S -m pylib.jobs.cmd local "$0" "$@"
