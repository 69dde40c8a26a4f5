#!/usr/bin/env bash
# Sourced by run.sh: what it refuses before the first stage, and what follows from its options.
# shellcheck disable=SC2034,SC2154 # the options are run.sh's, and so is the use of what is set here
set -euo pipefail

# fhvae_config <system>: its configurations; a later one overrides. A contrastive system of a published
# size has batches of its own, and a warm-up.
fhvae_config() {
  local files=conf/fhvae_$preset.toml more=conf/contrast_$preset.toml own=conf/objective_$1.toml
  if [ -f "$more" ]; then
    case $(setting objective.contrast "$own") in '' | none) ;; *) files+=" $more" ;; esac
  fi
  echo "$files $own"
}

# check_options: refuses what could only fail, or would be ignored, before the first stage.
check_options() {
  local system shift
  for system in $systems; do
    [ -f "conf/objective_$system.toml" ] || usage_error "no system $system: $(cd conf && echo objective_*.toml)"
  done
  _one_of feats logmel logspec logspec200
  _one_of vocoder griffinlim world
  _all_of recognise z1 z2
  _all_of methods "shift" replace knn_z1
  _all_of baselines "source" target meanvar knn_mel
  [ -z "$methods" ] || [[ " $baselines " = *" source "* ]] ||
    usage_error "--baselines \"$baselines\": source, copy synthesis, is what conversions are judged against: add it"
  _count references 1
  _count pair_speakers 1
  _count pair_utterances 1
  _count quality_utts 0
  _count latent_hop 1
  shift=$(setting segments.eval_shift "conf/fhvae_$preset.toml")
  ((shift % 10#$latent_hop == 0)) ||
    usage_error "--latent-hop $latent_hop: must divide segments.eval_shift = $shift: 1, 2, 4, 5, 10 or 20"
  _check_corpus
  _check_ignored
  _check_processes
}

# _one_of <option> <value>...: one of these.
_one_of() {
  local word
  for word in "${@:2}"; do
    [ "${!1}" != "$word" ] || return 0
  done
  usage_error "--${1//_/-} ${!1:-''}: one of ${*:2}"
}

# _all_of <option> <value>...: none, or some of these.
_all_of() {
  local word
  for word in ${!1}; do
    [[ " ${*:2} " = *" $word "* ]] || usage_error "--${1//_/-} $word: none or some of ${*:2}"
  done
}

# _count <option> <least>: a whole number.
_count() {
  { [[ ${!1} =~ ^[0-9]+$ ]] && ((10#${!1} >= $2)); } ||
    usage_error "--${1//_/-} ${!1:-''}: expected a whole number, $2 or more"
}

_check_corpus() {
  if [ -n "$train_set$unseen_set" ]; then
    [ -n "$train_set" ] || usage_error "--unseen-set $unseen_set: give --train-set DIR too, other speakers to train on"
    [ -n "$unseen_set" ] || usage_error "--train-set needs --unseen-set"
  elif [ "$download" = true ] && [ -z "$corpus_dir" ]; then
    usage_error "--download true: give --corpus-dir DIR, the directory to which VCTK is fetched"
  elif [ -z "$corpus_dir$corpus_size" ]; then
    [ "$dry_run" = true ] || [ "$status" = true ] ||
      usage_error "--preset $preset trains on VCTK: give --corpus-dir DIR (with --download true it is fetched to" \
        "there), --train-set and --unseen-set, or --corpus-size full for the built-in corpus"
    corpus_dir=$data/local/VCTK-Corpus-0.92 download=true # a plan needs no corpus
  fi
}

# _asked <option>: whether the command line gives it a value that asks for something.
_asked() {
  local word
  [ -n "${!1}" ] && [ "${!1}" != false ] && [ "${!1}" != 0 ] || return 1
  for word in ${asked[@]+"${asked[@]}"}; do
    word=${word%%=*}
    [ "${word//-/_}" != "__$1" ] || return 0
  done
  return 1
}

# _ignored <why> <option>...: refuses those that are asked for.
_ignored() {
  local name
  for name in "${@:2}"; do
    ! _asked "$name" || usage_error "--${name//_/-} ${!name} would be ignored $1: leave it out"
  done
}

# Only what the command line asks for: presets set much that not every run needs.
_check_ignored() {
  local conversion=(methods baselines vocoder quality_utts)
  if [ -n "$train_set" ]; then
    _ignored "with --train-set" corpus_dir download mic unseen corpus_size corpus_seed corpus_set recognise \
      "${conversion[@]}" references pair_speakers pair_utterances
  else
    _ignored "without --train-set, whose recordings it cuts" chunk
  fi
  [ -z "$corpus_dir" ] || _ignored "with --corpus-dir" corpus_size corpus_seed corpus_set
  [ -z "$ssl" ] || _ignored "with --ssl, with which only speakers are measured" recognise feats "${conversion[@]}"
  [ -n "$ssl" ] || _ignored "without --ssl" ssl_layer
}

# Recognisers share the micro-batches of an update. FHVAE is trained in one process: its batches of 256
# segments are small, and the contrastive term compares what is in one batch, which parts would change.
_check_processes() {
  local micro processes=$(((ngpu > 0 ? ngpu : nproc) * num_nodes))
  ((processes > 1)) || return 0
  [ -z "$train_set$ssl" ] ||
    usage_error "--ngpu, --nproc, --num-nodes: $processes processes, but FHVAE is trained in one, and no recogniser" \
      "is trained with --train-set or --ssl: leave them out, or --ngpu 1"
  micro=$(setting optim.micro_batches "conf/ctc_$preset.toml")
  ((micro % processes == 0)) ||
    usage_error "--ngpu, --nproc, --num-nodes: $processes processes cannot share the $micro micro-batches of an" \
      "update (optim.micro_batches of conf/ctc_$preset.toml): a number that divides $micro; FHVAE takes one anyway"
}

# choose_sets: the corpus, and what can be measured on it; aligned = phone times that are made where a
# corpus has none.
choose_sets() {
  corpus=${corpus_dir:-$data/local/corpus} corpus_name=VCTK trials=$data/unseen/trials
  sets=(train dev test unseen parallel_unseen) text=true phones=true fill='' aligned=()
  [ -n "$corpus_dir" ] || corpus_name="built-in $corpus_size"
  [ -z "$train_set" ] || sets=(train dev unseen) text=false phones=false corpus_name="$train_set, $unseen_set"
  [ -z "$ssl" ] || text=false
  [ "$text" = true ] || methods='' recognise=''
  [ -z "$corpus_dir" ] || [ "$text" = true ] || phones=false
  [ -z "$corpus_dir" ] || [ "$phones" = false ] || aligned=("$data"/{unseen,train}/phones.ctm)
}

# of_latents <directory>: like of_sets, for latents in copies of the sets, which have their phone times.
of_latents() {
  local name
  ins=(${aligned[@]+"${aligned[@]}"}) outs=() places=()
  for name in "${sets[@]}"; do
    [ "$name" != parallel_unseen ] || continue
    ins+=("$data/$name/$stem.scp") outs+=("$1/$name") places+=("$data/$name" "$1/$name")
  done
}

# check_sets: refuses sets on which what follows could only fail, before anything is trained. Takes out of
# sets, and out of phones and aligned, what a part of a corpus does not have; fill = the setting of passes
# where there are few utterances.
check_sets() {
  local have name utterances speakers there=() words=()
  [ "$dry_run" = false ] && [ "$status" = false ] && [ -f "$data/train/utt2spk" ] || return 0
  [ -n "$train_set" ] || [ -f "$data/sets.json" ] || return 0
  [ -z "$methods" ] || words+=(--conversions)
  [ "$text" = false ] || words+=(--words)
  have=" $("$TRIVIUM_PYTHON" -S local/check_sets.py ${words[@]+"${words[@]}"} "$data") " || exit 1
  for name in "${sets[@]}"; do
    [[ $have != *" $name "* ]] || there+=("$name")
  done
  sets=("${there[@]}")
  [[ $have =~ utterances=([0-9]+)\ speakers=([0-9]+) ]]
  utterances=${BASH_REMATCH[1]} speakers=${BASH_REMATCH[2]}
  [[ $have != *" timed "* ]] || aligned=()
  if [ "$phones" = true ] && [[ $have != *" genders "* ]]; then
    phones=false aligned=()
    log "the phone probe and the gap from men to women are not measured: $data/train/spk2gender and" \
      "$data/unseen/spk2gender do not tell of men to fit on, men and women to judge"
  fi
  _check_passes "$utterances"
  _check_batches "$speakers"
}

# _given <setting>: its value in --set-train; fails where that does not name it.
_given() {
  local pattern="(^|[[:blank:],])${1//./[.]}=([0-9]+)"
  [[ $set_train =~ $pattern ]] && echo "${BASH_REMATCH[2]}"
}

# _check_passes <utterances>: a pass of hierarchical sampling draws segments.cached of them.
_check_passes() {
  local cached config=conf/fhvae_$preset.toml
  if cached=$(_given segments.cached); then
    ((cached <= $1)) || die "--set-train segments.cached=$cached: $data/train has $1 utterances with another one" \
      "of their speaker: give that or less, or 0 for all"
  elif [ "$(setting segments.sampling "$config")" = hierarchical ]; then
    cached=$(setting segments.cached "$config")
    ((cached > $1)) || return 0
    fill=' segments.cached=0'
    log "segments.cached = $cached of $config: $data/train has $1 utterances to draw from, each pass takes all"
  fi
}

# _check_batches <speakers>: speaker-balanced batches need so many with two utterances.
_check_batches() {
  local system speakers config
  for system in $systems; do
    config=$(fhvae_config "$system")
    # shellcheck disable=SC2086 # names of files, without blanks
    speakers=$(_given segments.speakers) || speakers=$(setting segments.speakers $config)
    ((speakers <= $1)) || die "system $system: segments.speakers = $speakers of $config: $data/train has $1 speakers" \
      "with two utterances: take more of the corpus, or give --set-train segments.speakers=N, 2 to $1"
  done
}
