#!/usr/bin/env bash
# Sourced by run.sh: what it refuses, which word of an option, and which file of settings, goes with a training.
# shellcheck disable=SC2034,SC2154 # run.sh's own, and what it takes from here
set -euo pipefail

# check_options: refuses what could only fail, before the first stage.
check_options() {
  local system streams places=$data/local
  if [ -z "$corpus_dir$corpus_size" ]; then
    [ "$dry_run" = true ] || [ "$status" = true ] ||
      usage_error "--preset $preset trains on LRS3: give --corpus-dir DIR (--tedlium, --audio-dir, --text, --musan)," \
        "or --corpus-size full for the built-in corpus"
    corpus_dir=$places/LRS3 # a plan needs no corpus
    : "${tedlium:=$places/TEDLIUM_release-3}" "${audio_dir:=$places/audio}" "${text:=$places/text.txt.gz}" "${musan:=$places/musan}"
  fi
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
  _check_conditions
  on_gpu=() turns=''
  [ "$ngpu" -eq 0 ] || on_gpu=(--device cuda --gpu 1) # of a job that computes features of a model
  [[ " $systems " != *" vatlm "* ]] || _check_kinds
}

# _check_conditions: is there noise of every kind that --conditions names?
_check_conditions() {
  local condition there="babble speech" where="without --musan"
  [ -z "$musan" ] || where="in $musan"
  if [ -z "$corpus_dir$musan" ] || { [ -n "$musan" ] && [ ! -d "$musan" ]; }; then
    there+=" music natural" # the built-in corpus has both; where a tree is not there, stage 2 says so
  elif [ -n "$musan" ]; then
    [ ! -d "$musan/music" ] || there+=" music"
    [ ! -d "$musan/noise" ] || there+=" natural"
  fi
  [ -n "${conditions// /}" ] || usage_error "--conditions: none given: clean, babble:0 ..."
  for condition in $conditions; do
    [ "$condition" != clean ] || continue
    [[ $condition =~ ^(babble|speech|music|natural):[-+]?[0-9]+([.][0-9]+)?$ ]] ||
      usage_error "--conditions $condition: clean, or <noise>:<SNR in dB> such as babble:-5, of ${there// /, }"
    [[ " $there " = *" ${condition%%:*} "* ]] ||
      usage_error "--conditions $condition: no ${condition%%:*} noise $where, only ${there// /, }:" \
        "give --musan DIR, a tree with music and noise, or other --conditions, such as \"clean babble:0 speech:0\""
  done
}

# _check_kinds: turns = the setting of VATLM's micro-batches where not all four kinds of data are there.
# Configurations count them for four. Of base and large each kind keeps its published share; the others
# keep their number where the kinds can share it evenly.
_check_kinds() {
  local kinds=4 micro processes=$(((ngpu > 0 ? ngpu : nproc) * num_nodes))
  if [ -n "$corpus_dir" ]; then
    [ -n "$audio_dir" ] || kinds=$((kinds - 1))
    [ -n "$text" ] || kinds=$((kinds - 1))
  fi
  [ "$kinds" -lt 4 ] || return 0
  if [[ $set_pretrain =~ (^|[[:blank:],])optim\.micro_batches=([0-9]+) ]]; then
    micro=${BASH_REMATCH[2]}
    ((micro % kinds == 0)) ||
      usage_error "--set-pretrain optim.micro_batches=$micro: $kinds kinds of data take turns: a multiple of $kinds"
  else
    micro=$(setting optim.micro_batches "$(chosen "vatlm_$preset" "${vox:+vox}")")
    if [[ $preset = base || $preset = large ]] || ((micro % kinds)); then
      micro=$((micro * kinds / 4))
      turns=" optim.micro_batches=$micro"
    fi
  fi
  ((micro % processes == 0)) ||
    usage_error "$kinds kinds of data (video; audio with text${audio_dir:+; audio}${text:+; text}) are $micro" \
      "micro-batches an update, which $processes processes cannot share: other --nproc, --ngpu, --num-nodes," \
      "or all four kinds: give --audio-dir and --text"
}

# first_decoding <modalities> <conditions>: directory of the first that local/recognise.sh decodes.
first_decoding() {
  local noise='' modality condition
  read -r modality _ <<<"$1"
  read -r condition _ <<<"$2"
  if [ "$modality" != v ] && [ "$condition" != clean ]; then
    noise=$(LC_ALL=C printf '_%s_%g' "${condition%%:*}" "${condition#*:}")
  fi
  echo "decode_test${noise/%_-0/_0}_$modality"
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
