#!/usr/bin/env bash
# Sourced by run.sh: what follows from its options. Sets corpus and corpus_name, and lm and lexicon
# where the fetched ones lie beside the corpus; config_of and ctc_config name configurations.
# shellcheck disable=SC2034,SC2154 # the options are run.sh's, and so is the use of what is set here
set -euo pipefail

case $tuning in
  '' | mt4ssl | hubert | data2vec | offte) ;;
  *) usage_error "--tuning $tuning: mt4ssl, hubert, data2vec or offte" ;;
esac
if [ -z "$corpus_dir$corpus_size" ]; then
  [ "$dry_run" = true ] || [ "$status" = true ] ||
    usage_error "--preset $preset trains on LibriSpeech: give --corpus-dir DIR (with --download true it is" \
      "fetched to there), or --corpus-size full --split 10m for the built-in corpus"
  corpus_dir=$data/local/LibriSpeech download=true # a plan needs no corpus
fi
[ "$download" = false ] || [ -n "$corpus_dir" ] ||
  usage_error "--download true: give --corpus-dir DIR, the directory to which LibriSpeech is fetched"
corpus=${corpus_dir:-$data/local/corpus} corpus_name=LibriSpeech
[ -n "$corpus_dir" ] || corpus_name="built-in $corpus_size"
if [ -n "$corpus_dir" ] && [ -z "$lm$lexicon" ]; then
  beside=$corpus # where local/download.sh puts them
  [ "${corpus##*/}" != LibriSpeech ] || beside=$(dirname "$corpus")
  if [ "$download" = true ] || { [ -f "$beside/4-gram.arpa.gz" ] && [ -f "$beside/librispeech-lexicon.txt" ]; }; then
    lm=$beside/4-gram.arpa.gz lexicon=$beside/librispeech-lexicon.txt
  fi
fi

# config_of <system> <iteration>: of its pre-training; some have another in later iterations.
config_of() {
  local later=
  ((10#$2 == 1)) || later=it2
  chosen "${1}_$preset" "$later"
}

# ctc_config: of fine-tuning, the most special there is; random weights get theirs over it.
ctc_config() {
  local config
  config=$(chosen "ctc_$preset" "$split" "${tuning:-$system}")
  [ "$system" != scratch ] || config+=" conf/scratch_$preset.toml"
  echo "$config"
}
