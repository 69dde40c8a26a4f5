#!/usr/bin/env bash
# What every script leans on: log, warn, die, an ERR trap that names file:line and stage, and the
# stage guard of recipes. Sourced after path.sh (and, in a recipe, after parse_options.sh).
#
# A recipe is
#   # options
#   exp=exp            # directory of what is made; the ledger is $exp/.stages
#   stage=             # first stage to run, number or name; given, it runs whatever the ledger says
#   stop_stage=        # last stage to run
#   list_stages=false  # print the stages and stop
#   dry_run=false      # print every command and stop
#   status=false       # print what the ledger knows and stop
#   force=false        # run stages that were made with another configuration again
#   wait=false         # wait for another run that makes the same output, instead of stopping
#   # end of options
#   . "$TRIVIUM_ROOT/local/parse_options.sh"
#   . "$TRIVIUM_ROOT/local/lib.sh"
#   cd "$(dirname "${BASH_SOURCE[0]}")"
#   recipe_begin
#   # Clusters of MFCCs
#   stage 4 kmeans --in data/train/mfcc.scp --out exp/kmeans --config seed="$seed" -- \
#     steps/train_kmeans.sh --cmd "$train_cmd" --nj "$nj" --clusters 100 data/train exp/kmeans
#   recipe_end
#
# stage N NAME [--in PATH...] [--out PATH...] [--config NAME=VALUE...] -- COMMAND...
#   N and NAME are literal (--list-stages and --stage NAME read them off the script); one stage may be
#   called several times, for several sets or systems: its record is that of NAME and the first --out.
#   COMMAND is a script or program, no shell function. A word such as steps/x.sh is looked for here,
#   then below $TRIVIUM_ROOT. The command line is the configuration, but for --cmd, --nj,
#   --num-threads and --max-jobs-run; values that reach the step by another way go to --config. A
#   .toml file on it counts by its resolved values.
# By default a stage runs when it is not up to date: inputs, outputs, the code it reaches. Made with
# another configuration it refuses, unless --stage or --force true. --stage N runs all from N on.
# With --dry-run a step that declares the option dry_run is called with it and prints its own plan.
# Stages run one after another. Recipes for different systems or seeds may run side by side in one
# $exp; a second run that comes to an output another one is making is refused, or waits with --wait.
# Exit codes: 0 done, 1 failure, 2 usage, 75 stopped after a checkpoint (the same command goes on).

# shellcheck disable=SC2154 # exp, stage, stop_stage ... are the recipe's; recipe_begin looks for them

_lib_stage=             # "stage 4 (kmeans)" while one runs
_lib_pid=               # its process
_lib_told=()            # it and what it started, once they were told to stop
_lib_count=0 _lib_ran=0 # stages asked about, stages run
_lib_from='' _lib_to=''
_lib_lock=

_lib_line() { # _lib_line <message>: told of the nearest caller outside this file
  local i=1
  while [ "${BASH_SOURCE[i]:-}" = "${BASH_SOURCE[0]}" ]; do i=$((i + 1)); done
  printf '%(%Y-%m-%dT%H:%M:%S%z)T (%s:%s:%s) %s\n' -1 "${BASH_SOURCE[i]##*/}" \
    "${BASH_LINENO[i - 1]:-0}" "${FUNCNAME[i]:-main}" "$1"
}

# log <message>: ISO-time (file:line:function) message, on stdout.
log() { _lib_line "$*"; }

# warn <message>: the same on stderr.
warn() { _lib_line "warning: $*" >&2; }

# die <message>: the same, exit 1. Say what failed, where, and what to do.
die() {
  _lib_line "error: $*" >&2
  trap - ERR
  exit 1
}

_lib_on_error() { # _lib_on_error <code> <line> <command>
  local source=${BASH_SOURCE[1]:-$0}
  # A stage's own failure is told by the guard; exit codes 2 and 75 say something of their own.
  if [ "$1" -ne 75 ] && [ "$1" -ne 2 ]; then
    printf '%(%Y-%m-%dT%H:%M:%S%z)T (%s:%s:%s) error: code %s from: %s%s\n' -1 "${source##*/}" \
      "$2" "${FUNCNAME[1]:-main}" "$1" "${3%%$'\n'*}" "${_lib_stage:+ [in $_lib_stage]}" >&2
  fi
  exit "$1"
}
set -E
trap '_lib_on_error $? $LINENO "$BASH_COMMAND"' ERR

_lib_ledger() { "$TRIVIUM_PYTHON" -S -m pylib.jobs.ledger "$@"; }

# _lib_quote <word>...: the words as they can be typed.
_lib_quote() {
  local word line=
  for word in "$@"; do
    [[ $word =~ ^[A-Za-z0-9_./:=,@%+-]+$ ]] || word=${word@Q}
    line+=" $word"
  done
  printf '%s\n' "${line# }"
}

_lib_processes() { "$TRIVIUM_PYTHON" -S -m pylib.jobs.processes "$@"; }

# _lib_lives <pid>: and is no zombie, as what a shell left behind is where the first process reaps none.
_lib_lives() {
  kill -0 "$1" 2>/dev/null || return 1
  [[ $(cat "/proc/$1/stat" 2>/dev/null || true) != *') Z '* ]]
}

_lib_on_signal() { # _lib_on_signal <name> <code>
  local i=0 pid
  trap '_lib_kill_now' INT TERM
  if [ -n "$_lib_pid" ]; then
    warn "$1: stopping ${_lib_stage:-process $_lib_pid} (once more to kill it)"
    read -ra _lib_told < <(_lib_processes --told "$_lib_pid") || true
    kill -TERM ${_lib_told[@]+"${_lib_told[@]}"} 2>/dev/null || true
    # The step itself, a shell, is gone at once: a training that writes its checkpoint is waited for.
    for pid in ${_lib_told[@]+"${_lib_told[@]}"}; do
      for (( ; i < 900; i++)); do # 90 s for all of them
        _lib_lives "$pid" || break
        sleep 0.1
      done
    done
    _lib_kill_now "$2"
  fi
  exit "$2"
}

_lib_kill_now() {
  local pids
  read -ra pids < <(_lib_processes "$_lib_pid" ${_lib_told[@]+"${_lib_told[@]}"}) || true
  kill -KILL ${pids[@]+"${pids[@]}"} 2>/dev/null || true
  trap - INT TERM
  exit "${1:-130}"
}

# _lib_lock <out>: one run at a time makes an output; other systems and seeds go on beside it.
_lib_lock() {
  local holder file="${1//[^A-Za-z0-9_.=-]/+}"
  file=$exp/.stages/${file:0:150}.lock
  exec {_lib_lock}<>"$file" || _lib_unwritable "$file"
  # Another run that only looks whether this is up to date is done in a moment.
  if ! flock -w 3 "$_lib_lock"; then
    holder="process $(<"$file"), or something it started"
    [ "${wait-false}" = true ] ||
      die "another run is at work in $exp ($holder), on $1: wait for it or stop it; use --exp DIR for" \
        "a second one side by side"
    log "$_lib_stage: waiting for another run that makes $1 ($holder)"
    flock "$_lib_lock"
  fi
  printf '%s on %s since %(%F %T)T\n' "$$" "$HOSTNAME" -1 >"$file" || _lib_unwritable "$file"
}

_lib_unwritable() { # _lib_unwritable <file>
  die "$1 cannot be written: make room on the disk (df -h), or mend the rights of $exp, and run the" \
    "same command again, it goes on here; --exp DIR for another place"
}

_lib_unlock() {
  exec {_lib_lock}>&-
}

# recipe_begin: --list-stages, and what --stage and --stop-stage mean.
recipe_begin() {
  local name
  for name in exp stage stop_stage list_stages dry_run status force; do
    [ -n "${!name+x}" ] || die "$0 does not declare the option $name (see local/lib.sh)"
  done
  if [ "$list_stages" = true ]; then
    for name in "${!_po_stages[@]}"; do
      printf '%3d %-14s %s\n' "${_po_stages[$name]}" "$name" "${_po_stage_help[$name]}"
    done | sort -n
    exit 0
  fi
  case ${cmd_backend:-} in
    '') ;;
    local | slurm | sge | ssh) export CMD_BACKEND=$cmd_backend ;;
    *) usage_error "--cmd-backend $cmd_backend: local, slurm, sge or ssh" ;;
  esac
  _lib_from=$stage _lib_to=$stop_stage
  trap '_lib_on_signal INT 130' INT
  trap '_lib_on_signal TERM 143' TERM
  [ "$dry_run" = false ] && [ "$status" = false ] || return 0
  # An environment of the user's own: is all there? Ours was looked at when it was made.
  if [ "$TRIVIUM_PYTHON" != "$TRIVIUM_ROOT/.venv/bin/python" ]; then
    "$TRIVIUM_PYTHON" -I "$TRIVIUM_ROOT/local/check_env.py" runtime "$TRIVIUM_ROOT/pyproject.toml" \
      "$TRIVIUM_ROOT/constraints.txt" || die "TRIVIUM_PYTHON=$TRIVIUM_PYTHON lacks packages: install" \
      "them at the versions of constraints.txt, or unset TRIVIUM_PYTHON to have .venv made"
  fi
  mkdir -p "$exp/.stages" || _lib_unwritable "$exp/.stages"
}

# stage: see the top of this file.
stage() {
  local number=$1 name=$2 reason rc=0 start=$SECONDS
  local -a about=() command=()
  shift 2
  while [ $# -gt 0 ] && [ "$1" != -- ]; do
    about+=("$1")
    shift
  done
  [ $# -ge 2 ] || die "stage $number ($name): no command after --"
  shift
  command=("$@")
  _lib_stage="stage $number ($name)"
  if { [ -n "$_lib_from" ] && ((number < _lib_from)); } ||
    { [ -n "$_lib_to" ] && ((number > _lib_to)); }; then
    _lib_stage=
    return 0
  fi
  _lib_count=$((_lib_count + 1))
  _lib_resolve
  about=(--ledger "$exp/.stages" --pid "$$" --stage "$number" --name "$name" ${about[@]+"${about[@]}"} --)
  if [ "$dry_run" = true ]; then
    _lib_dry_run "$@"
  elif [ "$status" = true ]; then
    _lib_ledger status "${about[@]}" "$@"
  else
    local mode=auto
    _lib_lock "$(_lib_first_output "$name" "${about[@]}")"
    [ "$force" = false ] || mode=force
    [ -z "$_lib_from" ] || mode=rerun
    reason=$(_lib_ledger check --mode "$mode" "${about[@]}" "$@") || rc=$?
    case $rc in
      0) log "$_lib_stage: up to date" ;;
      10)
        log "$_lib_stage: $reason"
        _lib_run "$@"
        ;;
      *)
        trap - ERR
        exit 1
        ;;
    esac
    _lib_unlock
  fi
  _lib_stage=
}

_lib_first_output() { # _lib_first_output <stage name> <words...>: the word after --out, or the name
  local name=$1
  shift
  while [ $# -gt 1 ]; do
    [ "$1" != --out ] || name=$2
    [ "$1" != --out ] || break
    shift
  done
  printf '%s\n' "$name"
}

# Looks up the first word of `command` for the guard: here, then below the root, then on PATH.
_lib_resolve() {
  local word=${command[0]}
  if [[ $word == */* ]]; then
    [ -e "$word" ] || [ ! -e "$TRIVIUM_ROOT/$word" ] || command[0]="$TRIVIUM_ROOT/$word"
    [ -x "${command[0]}" ] || die "$_lib_stage: $word is not an executable file here or in $TRIVIUM_ROOT"
  elif [ "$(type -t "$word")" != file ]; then
    die "$_lib_stage: $word is not a program (a stage runs a script or program, no function)"
  fi
}

_lib_dry_run() {
  printf '# %s\n' "$_lib_stage"
  _lib_quote "$@"
  if [ -f "${command[0]}" ] && grep -q '^dry_run=' "${command[0]}"; then
    "${command[0]}" --dry-run true "${command[@]:1}" | sed 's/^/    /'
  fi
}

# of_sets <in> <out> <arks> <data-dirs>...: words of one stage that makes <out> of the file <in> of several
# data directories: ins, outs and places (each directory and <arks>_<its name>). The last directory's
# output comes first, by which a stage is known: with a set that joined later it is another stage.
of_sets() {
  local dir
  ins=() outs=() places=()
  for dir in "${@:4}"; do
    ins+=("$dir/$1") outs=("$dir/$2" ${outs[@]+"${outs[@]}"}) places+=("$dir" "$3_${dir##*/}")
  done
}

# foreground <command>...: runs it beside a waiting shell, so that INT and TERM are passed on at once to
# all that it started; Python only gives it back the interrupt that a shell takes from what it starts so.
foreground() {
  local rc=0
  trap '_lib_on_signal INT 130' INT
  trap '_lib_on_signal TERM 143' TERM
  "$TRIVIUM_PYTHON" -I -S -c 'import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])' "$@" </dev/null &
  _lib_pid=$!
  wait "$_lib_pid" || rc=$?
  _lib_pid=
  return "$rc"
}

_lib_run() {
  local rc=0
  foreground "${command[@]}" || rc=$?
  _lib_ran=$((_lib_ran + 1))
  _lib_ledger record --rc "$rc" "${about[@]}" "$@" || rc=1
  case $rc in
    0) log "$_lib_stage: done in $((SECONDS - start)) s" ;;
    75)
      log "$_lib_stage: stopped after a checkpoint: the same command goes on from there"
      trap - ERR
      exit 75
      ;;
    *)
      die "$_lib_stage failed with code $rc: $(_lib_quote "$@"): mend the cause above and run the" \
        "same command again, it goes on here"
      ;;
  esac
}

# recipe_end: the closing line.
recipe_end() {
  [ "$dry_run" = false ] && [ "$status" = false ] || return 0
  if [ "$_lib_ran" -eq 0 ]; then
    log "everything is up to date ($_lib_count stages)"
  else
    log "done: $_lib_ran of $_lib_count stages run in $SECONDS s, the others were up to date"
  fi
}
