#!/usr/bin/env bash
# Sourced by recipes instead of parse_options.sh: goes to the recipe's directory, reads the options of
# conf/preset_<preset>.conf and, over them, those of the command line; data directories lie beside exp,
# or within another --exp.

for ((_i = 1; _i <= $#; _i++)); do
  case ${!_i} in
    --preset) _j=$((_i + 1)) && preset=${!_j:-} ;;
    --preset=*) preset=${!_i#*=} ;;
  esac
done
unset _i _j
cd "$(dirname "${BASH_SOURCE[1]}")" || exit 1
[ ! -f "conf/preset_$preset.conf" ] || set -- --config "conf/preset_$preset.conf" "$@"
. "$TRIVIUM_ROOT/local/parse_options.sh"
. "$TRIVIUM_ROOT/local/lib.sh"
. "$TRIVIUM_ROOT/local/configurations.sh"
[ $# -eq 0 ] || usage_error "${0##*/} takes no argument: $*"
[ -f "conf/preset_$preset.conf" ] || usage_error "no preset $preset: $(cd conf && echo preset_*.conf)"
# shellcheck disable=SC2154 # every recipe has exp and data
[ -n "$data" ] || { [ "$exp" = exp ] && data=data || data=$exp/data; }
