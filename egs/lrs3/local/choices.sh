#!/usr/bin/env bash
# Sourced by run.sh: what it refuses, which word of an option, and which file of settings, goes with a training.
set -euo pipefail

# shellcheck disable=SC2154 # the options are run.sh's

# check_options: refuses what could only fail, before the first stage.
check_options() {
  local system streams
  for system in $systems; do
    case $system in
      vatlm | avhubert | scratch) ;;
      *) usage_error "no system $system: vatlm, avhubert or scratch" ;;
    esac
  done
  for streams in $finetune; do
    case $streams in
      all | av | v | a) ;;
      *) usage_error "--finetune $streams: all (one model for A, V and AV), av, v or a" ;;
    esac
  done
}

# tuned_for <streams> <system>: settings, a blank before each, of a fine-tuning that follow from its name, whatever the file.
# A model of one stream, or of both together, has none to lose at random; `all` does as its file says.
tuned_for() {
  case $1 in
    av) printf ' %s' 'seq2seq.modalities=["audio","video"]' seq2seq.modality_dropout=0.0 ;;
    a) printf ' %s' 'seq2seq.modalities=["audio"]' seq2seq.modality_dropout=0.0 ;;
    v) printf ' %s' 'seq2seq.modalities=["video"]' seq2seq.modality_dropout=0.0 ;;
  esac
  # What was not pre-trained learns from the first update on: frozen, it would stay random.
  [ "$2" != scratch ] || printf ' %s' seq2seq.freeze_updates=0
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
