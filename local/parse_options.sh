#!/usr/bin/env bash
# Sourced after a script's option block; turns --name value into variables. Nothing is ever executed
# from a value: assignment is by printf -v, and only names declared in the block can be set.
#
#   #!/usr/bin/env bash
#   # Usage: steps/verb.sh [options] <data-dir> <out-dir>
#   # What it does, in a line or more: this header is the help.
#   set -euo pipefail
#   . "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
#   # options
#   nj=4         # number of jobs          (the default's form is the type: integer, number,
#   force=false  # do it all the same       true/false, else text)
#   # end of options
#   . "$TRIVIUM_ROOT/local/parse_options.sh"
#   [ $# -eq 2 ] || usage
#
# Within the block a comment line of its own is a heading, an indented one continues the help of the
# option above. Afterwards "$@" holds the positional arguments, `usage` prints the
# help to stderr and exits 2, `usage_error <message>` a message.
#
#   --foo-bar X, --foo-bar=X   X is taken literally; --foo-bar=--x states a value that looks like an
#                              option on purpose
#   --flag                     for a true/false option: the same as --flag true
#   --config FILE              lines name=value with the same checks; the command line wins. A script
#                              that declares `config` itself gets the value instead
#   --stage, --stop-stage      a number or, in a script with stages, the name of one
#   --                         ends the options
#   -h, --help                 prints the help, exits 0
# Options may stand after positional arguments; a script that runs another one sets options_first=true,
# and what follows its first argument is kept as it is. Usage errors exit 2. A first word of --cmd such as
# local/run.sh is looked for below the current directory, then below $TRIVIUM_ROOT.

_po_script=${BASH_SOURCE[1]:-$0}
[[ $_po_script != */local/preset.sh ]] || _po_script=${BASH_SOURCE[2]}
# The script may have changed directory since it was started by a relative name.
if [[ $_po_script != /* && ${_trivium_caller-} == *"/$_po_script" ]]; then
  _po_script=$_trivium_caller
fi
_po_names=()           # declared options, in order
declare -A _po_type=() # integer, number, boolean, text
declare -A _po_help=()
declare -A _po_default=()
declare -A _po_heading=()    # text before an option
declare -A _po_stages=()     # stage name -> number
declare -A _po_stage_help=() # stage name -> the comment line above it
_po_usage=                   # the comment header
_po_rest=()

_po_read_script() {
  local _po_line _po_in=header _po_name _po_last='' _po_head=''
  local _po_assign='^([a-z][a-z0-9_]*)=(.*)$' _po_comment='[[:space:]]#[[:space:]](.*)$'
  local _po_stage_re='^[[:space:]]*stage[[:space:]]+([0-9]+)[[:space:]]+([A-Za-z][A-Za-z0-9_-]*)'
  while IFS= read -r _po_line || [ -n "$_po_line" ]; do
    case $_po_in in
      header)
        case $_po_line in
          '#!'*) continue ;;
          '# options') _po_in=options ;;
          '#'*)
            _po_line=${_po_line#\#}
            _po_usage+="${_po_line# }"$'\n'
            ;;
          *) _po_in=between ;;
        esac
        ;;
      between) [ "$_po_line" != '# options' ] || _po_in=options ;;
      options)
        if [ "$_po_line" = '# end of options' ]; then
          _po_in=body _po_head=
        elif [[ $_po_line =~ $_po_assign ]]; then
          _po_name=${BASH_REMATCH[1]} _po_last=${BASH_REMATCH[1]}
          _po_names+=("$_po_name")
          _po_default[$_po_name]=${!_po_name-}
          _po_heading[$_po_name]=$_po_head _po_head=
          _po_help[$_po_name]=
          if [[ " ${BASH_REMATCH[2]}" =~ $_po_comment ]]; then
            _po_help[$_po_name]=${BASH_REMATCH[1]}
          fi
        elif [[ $_po_line =~ ^[[:space:]]+#[[:space:]]?(.*)$ && -n $_po_last ]]; then
          _po_help[$_po_last]+=$'\n'"${BASH_REMATCH[1]}"
        elif [[ $_po_line =~ ^#[[:space:]]?(.*)$ ]]; then
          _po_head+="${BASH_REMATCH[1]}"$'\n'
        fi
        ;;
      body)
        if [[ $_po_line =~ $_po_stage_re ]]; then
          _po_stages[${BASH_REMATCH[2]}]=${BASH_REMATCH[1]}
          # A stage may be called several times; the first comment above a call stands for it.
          [ -n "${_po_stage_help[${BASH_REMATCH[2]}]:-}" ] ||
            _po_stage_help[${BASH_REMATCH[2]}]=$_po_head
          _po_head=
        elif [[ $_po_line =~ ^[[:space:]]*#[[:space:]](.*)$ ]]; then
          _po_head=${BASH_REMATCH[1]}
        else
          _po_head=
        fi
        ;;
    esac
  done <"$_po_script"
  for _po_name in ${_po_names[@]+"${_po_names[@]}"}; do
    _po_type[$_po_name]=$(_po_type_of "$_po_name" "${_po_default[$_po_name]}")
  done
}

_po_type_of() {
  if [ "$1" = stage ] || [ "$1" = stop_stage ]; then
    echo stage
  elif [[ $2 =~ ^[-+]?[0-9]+$ ]]; then
    echo integer
  elif [[ $2 =~ ^[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)([eE][-+]?[0-9]+)?$ ]]; then
    echo number
  elif [ "$2" = true ] || [ "$2" = false ]; then
    echo boolean
  else
    echo text
  fi
}

_po_fail() {
  printf '%s: error: %s\n' "${_po_script##*/}" "$1" >&2
  printf 'See %s --help\n' "$_po_script" >&2
  exit 2
}

_po_print_help() {
  local _po_name _po_text _po_flag
  printf '%s' "$_po_usage"
  [ ${#_po_names[@]} -gt 0 ] || return 0
  printf '\nOptions:\n'
  for _po_name in "${_po_names[@]}"; do
    [ -z "${_po_heading[$_po_name]}" ] || printf '\n%s' "${_po_heading[$_po_name]}"
    _po_flag="--${_po_name//_/-}"
    _po_text=${_po_help[$_po_name]//$'\n'/$'\n'"                       "}
    if [ -n "${_po_default[$_po_name]}" ]; then
      _po_text+=" (default: ${_po_default[$_po_name]})"
    fi
    printf '  %-20s %s\n' "$_po_flag" "$_po_text"
  done
  printf '  %-20s %s\n' '--help, -h' 'print this and stop'
}

# usage: prints the help to stderr, exits 2.
usage() {
  _po_print_help >&2
  exit 2
}

# usage_error <message>: tells what is wrong with the command line, exits 2.
usage_error() { _po_fail "$*"; }

_po_declared() { [ -n "${_po_type[$1]+x}" ]; }

# _po_nearest <word> <candidate>...: the candidate by edit distance, nothing when none is near.
_po_nearest() {
  local _po_word=$1
  shift
  [ $# -gt 0 ] || return 0
  printf '%s\n' "$@" | awk -v w="$_po_word" '
    function min(a, b) { return a < b ? a : b }
    function distance(s, t,   i, j, n, m, d) {
      n = length(s); m = length(t)
      for (i = 0; i <= n; i++) d[i, 0] = i
      for (j = 0; j <= m; j++) d[0, j] = j
      for (i = 1; i <= n; i++) for (j = 1; j <= m; j++)
        d[i, j] = min(min(d[i - 1, j] + 1, d[i, j - 1] + 1),
                      d[i - 1, j - 1] + (substr(s, i, 1) != substr(t, j, 1)))
      return d[n, m]
    }
    { a = tolower(w); b = tolower($0); gsub(/[-_]/, "", a); gsub(/[-_]/, "", b)
      x = distance(a, b)
      if (length(a) > 2 && index(b, a) == 1) x = min(x, 1)
      if (best == "" || x < low) { best = $0; low = x } }
    END { if (low <= 2 || low <= length(w) / 3) print best }'
}

_po_unknown() { # _po_unknown <spelling> <where>
  local _po_near
  _po_near=$(_po_nearest "${1#--}" ${_po_names[@]+"${_po_names[@]//_/-}"} help)
  _po_fail "$2unknown option $1${_po_near:+: did you mean --$_po_near?}"
}

# _po_set <variable> <value> <where>: checks by the default's type, then assigns.
_po_set() {
  local _po_flag="--${1//_/-}" _po_near
  case ${_po_type[$1]} in
    integer)
      [[ $2 =~ ^[-+]?[0-9]+$ ]] || _po_fail "$3$_po_flag takes an integer, not '$2'"
      ;;
    number)
      [[ $2 =~ ^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$ ]] ||
        _po_fail "$3$_po_flag takes a number, not '$2'"
      ;;
    boolean)
      [ "$2" = true ] || [ "$2" = false ] || _po_fail "$3$_po_flag takes true or false, not '$2'"
      ;;
    stage)
      if [ -n "$2" ] && ! [[ $2 =~ ^[0-9]+$ ]]; then
        if [ -n "${_po_stages[$2]+x}" ]; then
          printf -v "$1" '%s' "${_po_stages[$2]}"
          return 0
        fi
        _po_near=$(_po_nearest "$2" ${_po_stages[@]+"${!_po_stages[@]}"})
        _po_fail "$3$_po_flag takes a stage's number${_po_stages[*]:+ or name (--list-stages shows them)}, not '$2'${_po_near:+: did you mean $_po_near?}"
      fi
      ;;
  esac
  if [ "$1" = cmd ] && [[ $2 =~ ^[[:space:]]*$ ]]; then
    _po_fail "$3--cmd is empty: give a command that runs jobs, such as local/run.sh"
  fi
  printf -v "$1" '%s' "$2"
}

_po_read_config() {
  local _po_file=$1 _po_line _po_number=0 _po_name _po_value _po_where
  local _po_pair='^[[:space:]]*(--)?([A-Za-z][A-Za-z0-9_-]*)[[:space:]]*=[[:space:]]*(.*)$'
  { [ -f "$_po_file" ] && [ -r "$_po_file" ]; } || _po_fail "--config $_po_file: no such file"
  while IFS= read -r _po_line || [ -n "$_po_line" ]; do
    _po_number=$((_po_number + 1))
    _po_where="$_po_file:$_po_number: "
    [[ $_po_line != *$'\r'* ]] || _po_fail "${_po_where}carriage return: save the file with Unix line ends"
    [[ ! $_po_line =~ ^[[:space:]]*(#.*)?$ ]] || continue
    [[ $_po_line =~ $_po_pair ]] || _po_fail "${_po_where}expected name=value, found '$_po_line'"
    _po_name=${BASH_REMATCH[2]//-/_} _po_value=${BASH_REMATCH[3]}
    if [[ $_po_value =~ ^\"([^\"]*)\"[[:space:]]*(#.*)?$ || $_po_value =~ ^\'([^\']*)\'[[:space:]]*(#.*)?$ ]]; then
      _po_value=${BASH_REMATCH[1]}
    else
      _po_value=${_po_value%%[[:space:]]#*}
      _po_value=${_po_value%"${_po_value##*[![:space:]]}"}
    fi
    _po_declared "$_po_name" || _po_unknown "--${_po_name//_/-}" "$_po_where"
    _po_set "$_po_name" "$_po_value" "$_po_where"
  done <"$_po_file"
}

# _po_own <word>...: how many words are this script's, into _po_count: with options_first those up to
# and with the first argument, else all.
_po_own() {
  local _po_name _po_words
  _po_count=$#
  [ "${options_first-}" = true ] || return 0
  _po_count=0
  while [[ ${1-} == -?* && $1 != -- ]]; do
    _po_name=${1#--} _po_words=2
    _po_name=${_po_name//-/_}
    if [[ $1 == *=* || $1 == -h || $1 == --help || $# -eq 1 ]]; then
      _po_words=1
    elif [ "${_po_type[$_po_name]-}" = boolean ] && [ "$2" != true ] && [ "$2" != false ]; then
      _po_words=1
    fi
    _po_count=$((_po_count + _po_words))
    shift "$_po_words"
  done
  if [ "${1-}" = -- ]; then
    _po_count=$((_po_count + $#))
  elif [ $# -gt 0 ]; then
    _po_count=$((_po_count + 1))
  fi
}

# First pass: the files given by --config, so that the command line wins in any order.
_po_configs() {
  _po_declared config && return 0
  while [ $# -gt 0 ]; do
    case $1 in
      --) return 0 ;;
      --config=*) _po_read_config "${1#--config=}" ;;
      --config)
        [ $# -ge 2 ] || _po_fail "--config needs a value"
        _po_read_config "$2"
        shift
        ;;
    esac
    shift
  done
}

_po_is_option_name() { # a word that would be a declared option if it stood alone
  [[ $1 == --?* ]] || return 1
  local _po_word=${1%%=*}
  _po_word=${_po_word#--}
  [ "$_po_word" = config ] || [ "$_po_word" = help ] || _po_declared "${_po_word//-/_}"
}

_po_command_line() {
  local _po_name _po_flag
  while [ $# -gt 0 ]; do
    case $1 in
      -h | --help)
        _po_print_help
        exit 0
        ;;
      --)
        shift
        _po_rest+=("$@")
        return 0
        ;;
      --?*=*)
        _po_flag=${1%%=*}
        _po_name=${_po_flag#--}
        _po_name=${_po_name//-/_}
        if _po_declared "$_po_name"; then
          _po_set "$_po_name" "${1#*=}" ''
        elif [ "$_po_flag" != --config ]; then
          _po_unknown "$_po_flag" ''
        fi
        ;;
      --?*)
        _po_name=${1#--}
        _po_name=${_po_name//-/_}
        if ! _po_declared "$_po_name"; then
          [ "$1" = --config ] || _po_unknown "$1" ''
          shift
        elif [ "${_po_type[$_po_name]}" = boolean ]; then
          case ${2-} in
            true | false)
              _po_set "$_po_name" "$2" ''
              shift
              ;;
            True | False | TRUE | FALSE | yes | no | on | off | y | n)
              _po_fail "$1 takes true or false, not '$2'"
              ;;
            *) printf -v "$_po_name" true ;;
          esac
        else
          [ $# -ge 2 ] || _po_fail "$1 needs a value"
          ! _po_is_option_name "$2" ||
            _po_fail "$1 needs a value, found the option $2 (write $1=$2 if that is the value)"
          _po_set "$_po_name" "$2" ''
          shift
        fi
        ;;
      -[A-Za-z]*) _po_unknown "$1" '' ;;
      *) _po_rest+=("$1") ;;
    esac
    shift
  done
}

_po_after() {
  local _po_first _po_root
  if [ ${#_po_rest[@]} -gt 0 ] && [[ $_po_usage == *Usage:* && ${_po_usage#*Usage:} != *'<'* ]]; then
    _po_fail "takes no arguments, only options: '${_po_rest[0]}' is neither an option nor a value of one"
  fi
  if _po_declared cmd; then
    [[ ! ${cmd:-} =~ ^[[:space:]]*$ ]] || _po_fail "--cmd is empty: give a command that runs jobs"
    _po_first=${cmd%%[[:space:]]*}
    if [[ $_po_first == */* && $_po_first != /* && ! -e $_po_first && -e ${TRIVIUM_ROOT:-}/$_po_first ]]; then
      _po_root=$TRIVIUM_ROOT
      # The command is split at blanks, so a root with one in it is reached by a relative way.
      [[ $_po_root != *[[:space:]]* ]] || _po_root=$(realpath --relative-to=. "$_po_root")
      cmd="$_po_root/$cmd"
    fi
  fi
}

_po_read_script
_po_own "$@"
_po_configs "${@:1:_po_count}"
_po_command_line "${@:1:_po_count}"
_po_rest+=("${@:_po_count+1}")
_po_after
set -- ${_po_rest[@]+"${_po_rest[@]}"}
