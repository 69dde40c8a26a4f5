#!/usr/bin/env bash
# Usage: bash tests/run.sh [options]
# Runs all tests: linters and rules of the house, shell tests, unit tests, recipes end to end.
# The first use makes the environment. Ends with a line "N passed, N failed"; the exit code is 0 only
# when nothing failed. Tests on real recordings run where $TRIVIUM_REAL names them.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
fast=false     # leave out the slow tests (recipes end to end, over-fitting, benchmarks)
shell=true     # run the shell tests
clusters=false # run the tests before a real Slurm, Grid Engine and sshd too (see tests/jobs)
only=          # only the Python tests below this path, such as tests/corpus
jobs=          # tests at once (empty: as many as processors)
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
. "$TRIVIUM_ROOT/local/lib.sh"

# in_memory: makes and prints a directory in memory; fails where there is too little, or programs in
# it cannot be run.
in_memory() {
  local folder room
  room=$(df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 { print int($4 / 1048576) }') || return 1
  [ "${room:-0}" -ge 8 ] || return 1
  room=$(awk '$1 == "MemAvailable:" { print int($2 / 1048576) }' /proc/meminfo) || return 1
  [ "${room:-0}" -ge 16 ] || return 1
  folder=$(mktemp -d -p /dev/shm) || return 1
  printf '#!/bin/sh\n' >"$folder/runs"
  chmod +x "$folder/runs"
  if "$folder/runs" 2>/dev/null; then
    rm "$folder/runs"
    echo "$folder"
  else
    rm -r "$folder"
    return 1
  fi
}

cd "$TRIVIUM_ROOT"
unset CMD_BACKEND train_cmd decode_cmd cuda_cmd
jobs=${jobs:-$("$TRIVIUM_PYTHON" -I -S -c 'import os; print(len(os.sched_getaffinity(0)))')}
export OMP_NUM_THREADS=1 # processes side by side, one thread each
work=$(mktemp -d)
memory=
trap 'rm -rf "$work" ${memory:+"$memory"}' EXIT
# What is put in place is synced first, so that tests on a disk wait for it a third of their time.
# Where memory is plenty they work there, unless TMPDIR says where.
if [ -z "${TMPDIR:-}" ] && memory=$(in_memory); then export TMPDIR=$memory; fi
passed=0 failed=0 skipped=0
# Installed packages alone must not decide whether a run takes ten minutes longer.
slow="slow and not gpu"
[ "$clusters" = true ] || slow+=" and not slurm and not sge and not ssh"

# count <word> <file>: the number before a word in pytest's closing line, or 0.
count() {
  local line
  line=$(grep -E '^[0-9]+ .* in [0-9.]+s( \([0-9:]+\))?$' "$2" | tail -n 1 || true)
  if [[ $line =~ ([0-9]+)\ $1 ]]; then echo "${BASH_REMATCH[1]}"; else echo 0; fi
}

# part <title> <command>...: runs a part to its end, whatever comes out of it, and counts.
part() {
  local title=$1 rc=0 start=$SECONDS out="$work/out"
  shift
  log "$title"
  "$@" 2>&1 | tee "$out" || rc=${PIPESTATUS[0]}
  local good=0 bad=0
  if grep -qE '^1\.\.[0-9]+$' "$out"; then
    good=$(grep -c '^ok ' "$out" || true)
    bad=$(grep -c '^not ok ' "$out" || true)
  else
    good=$(count passed "$out")
    bad=$(($(count failed "$out") + $(count error "$out")))
    skipped=$((skipped + $(count skipped "$out")))
  fi
  # 5 is pytest's code for nothing collected, as with --only of a directory without slow tests.
  if [ "$rc" -ne 0 ] && [ "$rc" -ne 5 ] && [ "$bad" -eq 0 ]; then bad=1; fi
  passed=$((passed + good)) failed=$((failed + bad))
  log "$title: $good passed, $bad failed in $((SECONDS - start)) s"
}

# shell_tests: a file a process, the long ones (the last) first; bats itself would need GNU parallel.
# shellcheck disable=SC2329 # part calls it
shell_tests() {
  local rc=0
  # shellcheck disable=SC2016 # it is the inner shell that expands
  printf '%s\n' tests/shell/*.bats | tac |
    xargs -d '\n' -n 1 -P "$jobs" bash -c 'bats --tap "$2" >"$1/${2##*/}.tap" 2>&1' - "$work" || rc=$?
  cat "$work"/*.tap
  return "$rc"
}

# Read whole before it runs: an editor may save this file meanwhile.
all() {
  local -a pytest=("$TRIVIUM_PYTHON" -m pytest -q --color=no --durations=15 -p no:cacheprovider)
  if [ -n "$only" ]; then
    [ -e "$only" ] || usage_error "--only $only: no such file or directory"
    part "unit tests of $only" "${pytest[@]}" -n "$jobs" -m "not slow and not gpu" "$only"
    [ "$fast" = true ] || part "slow tests of $only" "${pytest[@]}" -m "$slow" "$only"
  else
    part "rules of the house and linters" "${pytest[@]}" -n "$jobs" -m "not gpu" tests/arch
    [ "$shell" = false ] || part "shell tests" shell_tests
    part "unit tests" "${pytest[@]}" -n "$jobs" -m "not slow and not gpu" tests --ignore=tests/arch
    if [ "$fast" = false ]; then
      # Files that have any: to read all of them again takes half a minute. The recipes come first, file
      # by file: they take longest.
      local -a files
      mapfile -t files < <(grep -l 'mark\.slow' tests/e2e/test_*.py &&
        grep -rl --include='test_*.py' --exclude-dir=arch --exclude-dir=e2e 'mark\.slow' tests | sort)
      # A worker that is gone ends it: with a new one, the tests of the old one are waited for for ever.
      part "slow tests" "${pytest[@]}" -n "$jobs" --dist=loadfile --no-loadscope-reorder \
        --max-worker-restart=0 -m "$slow" "${files[@]}"
      if "$TRIVIUM_PYTHON" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
        part "GPU tests" "${pytest[@]}" -m gpu tests
      fi
    fi
  fi

  printf '\n%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
  [ "$failed" -eq 0 ] || exit 1
}

{
  all
  exit
}
