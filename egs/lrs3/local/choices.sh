#!/usr/bin/env bash
# Sourced by run.sh: what it refuses, which word of an option, and which file of settings, goes with a training.
set -euo pipefail

# check_systems <names>: refuses others than there are.
check_systems() {
  local system
  for system in $1; do
    case $system in
      vatlm | avhubert | scratch) ;;
      *) usage_error "no system $system: vatlm, avhubert or scratch" ;;
    esac
  done
}

# nth <n> <words>: the n-th word, or the last one.
nth() {
  local -a words
  read -ra words <<<"$2"
  echo "${words[$(($1 < ${#words[@]} ? $1 : ${#words[@]})) - 1]}"
}

# chosen <name> <part>...: conf/<name>.toml, or the file whose name goes on with those of the parts,
# in this order, with which there is one: seq2seq_base, v, 433h -> conf/seq2seq_base_v_433h.toml,
# but seq2seq_base, av, 433h -> conf/seq2seq_base_433h.toml.
chosen() {
  local file=conf/$1 part
  for part in "${@:2}"; do
    [ -z "$part" ] || [ ! -f "${file}_$part.toml" ] || file+=_$part
  done
  echo "$file.toml"
}
