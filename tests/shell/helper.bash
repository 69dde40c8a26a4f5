# shellcheck shell=bash
# Shared by the shell tests: where the repository is, and a scratch directory to work in.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
bats_require_minimum_version 1.5.0

: "${TRIVIUM_PYTHON:?tests/run.sh sets it, or: . ./path.sh}"
export TRIVIUM_FIXTURE_ROOT=$ROOT
export LC_ALL=C PYTHONPATH=$ROOT

# A scratch directory of this test, and nothing of the caller's that steers jobs.
scratch() {
  unset CMD_BACKEND train_cmd decode_cmd cuda_cmd
  cd "$BATS_TEST_TMPDIR" || return 1
}

# script <option block line>...: a script with these options that prints its variables; it takes
# positional arguments. Give USAGE to change the usage line.
script() {
  local line names=
  {
    echo '#!/usr/bin/env bash'
    echo "# Usage: ${USAGE-t.sh [options] <argument>...}"
    echo '# Does 100% of %s it.'
    echo 'set -euo pipefail'
    echo ". '$ROOT/path.sh'"
    echo '# options'
    printf '%s\n' "$@"
    echo '# end of options'
    echo '. "$TRIVIUM_ROOT/local/parse_options.sh"'
    for line in "$@"; do
      [[ $line =~ ^([a-z_]+)= ]] && names+=" ${BASH_REMATCH[1]}"
    done
    for line in $names; do
      echo "printf '%s=[%s]\n' $line \"\$$line\""
    done
    echo 'printf "arg=[%s]\n" "$@"'
  } >t.sh
}

has() { # has <text>: it is in $output
  [[ $output == *"$1"* ]] || {
    printf 'expected to find: %s\nin: %s\n' "$1" "$output"
    return 1
  }
}

lacks() { # lacks <text>: it is not in $output
  [[ $output != *"$1"* ]] || {
    printf 'expected not to find: %s\nin: %s\n' "$1" "$output"
    return 1
  }
}

# eventually <seconds> <command>...: waits until the command succeeds.
eventually() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || return 1
    sleep 0.05
  done
}

# processor_ms <command>...: the milliseconds of processor time it took, into $took. Unlike the time
# on the wall it does not depend on what else the machine does.
processor_ms() {
  local TIMEFORMAT='%U %S' user system
  { time "$@" >/dev/null 2>&1; } 2>times.txt
  read -r user system <times.txt
  took=$((10#${user/./} + 10#${system/./}))
  echo "took $took ms of processor time"
}

# running <pattern>: whether a process has a command line that matches (an extended expression).
running() {
  local file words
  for file in /proc/[0-9]*/cmdline; do
    words=$(tr '\0' ' ' <"$file" 2>/dev/null) || continue
    [[ ! $words =~ $1 ]] || return 0
  done
  return 1
}

not_running() { ! running "$1"; }

# ends_with <code> <signal> <pid>: sends the signal to a background process, which ends with the code.
ends_with() {
  local code=0
  kill -s "$2" "$3"
  wait "$3" || code=$?
  [ "$code" -eq "$1" ] || {
    echo "process $3 ended with code $code after $2, expected $1"
    return 1
  }
}
