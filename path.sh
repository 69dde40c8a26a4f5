#!/usr/bin/env bash
# Sourced by every script and again inside every job: sets what the tools need, and makes the Python
# environment the first time. Idempotent, silent when all is ready, returns 1 (never exits) when not.
#
#   TRIVIUM_PYTHON    set it to a Python >= 3.11 of your own to use that environment as it is
#   OMP_NUM_THREADS   kept when set; else 1, because jobs run side by side
#
# No path of any machine belongs in this file.

if [ -z "${BASH_VERSINFO[0]:-}" ] || ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] < 404)); then
  echo "path.sh: bash >= 4.4 is needed, this is ${BASH_VERSION:-another shell}" >&2
  return 1
fi

# The script that sourced this, for whoever reads its option block after a cd.
_trivium_caller=${BASH_SOURCE[1]:-}
[[ $_trivium_caller == /* ]] || _trivium_caller=$PWD/$_trivium_caller

TRIVIUM_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P) || return 1
export TRIVIUM_ROOT
export LC_ALL=C           # tables are sorted bytewise; merge joins depend on it
export PYTHONUTF8=1       # decoding is Python's, never the locale's
export PYTHONUNBUFFERED=1 # a log shows a line when it is printed
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"

_trivium_front() { # _trivium_front <list> <dir>: prints the list with dir once, in front
  local rest=":$1:"
  rest=${rest//":$2:"/:}
  rest=${rest#:}
  rest=${rest%:}
  printf '%s' "$2${rest:+:$rest}"
}

# The words --help, -h and --list-stages need no environment: they must answer on a fresh clone.
_trivium_needs_python() {
  local word
  for word in "$@"; do
    case $word in
      --) return 0 ;;
      --help | -h | --list-stages) return 1 ;;
    esac
  done
  return 0
}

_trivium_path() {
  local own="$TRIVIUM_ROOT/.venv/bin/python" stamp="$TRIVIUM_ROOT/.venv/.stamp" want have=
  PYTHONPATH=$(_trivium_front "${PYTHONPATH:-}" "$TRIVIUM_ROOT")
  export PYTHONPATH
  if [ -n "${TRIVIUM_PYTHON:-}" ] && [ "$TRIVIUM_PYTHON" != "$own" ]; then
    [[ $TRIVIUM_PYTHON != */* || $TRIVIUM_PYTHON == /* ]] || TRIVIUM_PYTHON=$PWD/$TRIVIUM_PYTHON
    # The user's own. A job inherits both variables, so each interpreter is looked at once a run.
    if [ "${TRIVIUM_PYTHON_CHECKED:-}" != "$TRIVIUM_PYTHON" ]; then
      bash "$TRIVIUM_ROOT/local/env.sh" check "$TRIVIUM_PYTHON" || return 1
      export TRIVIUM_PYTHON_CHECKED="$TRIVIUM_PYTHON"
    fi
  else
    want=$(cat "$TRIVIUM_ROOT/constraints.txt" "$TRIVIUM_ROOT/pyproject.toml" | cksum) || return 1
    [ -r "$stamp" ] && have=$(<"$stamp")
    if [ "$want" != "$have" ] && _trivium_needs_python "$@"; then
      bash "$TRIVIUM_ROOT/local/env.sh" make "$want" || return 1
    fi
    TRIVIUM_PYTHON=$own
    # Images of containers like to forbid byte code: this environment lives on that of its first run,
    # without which every start of a process that needs torch takes 3 s more.
    unset PYTHONDONTWRITEBYTECODE
  fi
  export TRIVIUM_PYTHON
  if [[ $TRIVIUM_PYTHON == */* ]]; then
    PATH=$(_trivium_front "$PATH" "$(dirname "$TRIVIUM_PYTHON")")
    export PATH
  fi
}

_trivium_path "$@" || {
  unset -f _trivium_front _trivium_needs_python _trivium_path
  return 1
}
unset -f _trivium_front _trivium_needs_python _trivium_path
