#!/usr/bin/env bash
# Usage: bash run.sh [options]
#
# MT4SSL on LibriSpeech: pre-training, CTC fine-tuning, decoding, scoring, report.
# Without options: the built-in corpus, preset mini, MT4SSL; ends with a WER table and
# exp/report/index.html. What is up to date is not run again.
#
#   bash run.sh --system scratch                    the baseline beside it
#   bash run.sh --preset small --exp exp/small      the comparison on one machine
#   bash run.sh --preset base --dry-run             the papers' configuration: the plan for 960 h
#   bash run.sh --preset base --corpus-dir /data/LibriSpeech --split 10h --ngpu 8
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../path.sh"

# options
preset=mini             # smoke, mini, small, base or large: conf/preset_<preset>.conf and conf/*_<preset>*.toml
system=mt4ssl           # mt4ssl, hubert, data2vec, offte, or scratch (fine-tuning from random weights)
iteration=1             # label iteration: 1 = clusters of MFCCs, n = clusters of iteration n-1's model
seed=1                  # seed of initial weights, batch order and masks
corpus_dir=             # the real LibriSpeech tree in its published layout; empty: the built-in corpus is made (base, large: needed)
corpus_seed=1           # seed of the built-in corpus
download=false          # first fetch LibriSpeech's open parts, lists, LM and lexicon into --corpus-dir
librilight=             # Libri-Light's librispeech_finetuning directory; empty: splits are drawn by a fixed seed
split=                  # labelled split: 10m, 1h, 10h, 100h or 960h
lm=                     # a ready LM (ARPA, may be gzipped, or KenLM binary); empty: the fetched one, or made of the LM text
lexicon=                # words of the ready LM, e.g. librispeech-lexicon.txt; empty: the LM text's words
exp=exp                 # directory of everything an experiment makes
data=                   # directory of data directories; empty: data, or <exp>/data for another --exp
results=                # also write the table of results to this file, e.g. RESULTS.md
set_bootstrap=          # settings to override of the models whose features later iterations cluster
set_pretrain=           # settings of pre-training to override, e.g. "optim.lr=3e-4 run.precision=fp32"
set_finetune=           # settings of fine-tuning to override
tuning=                 # system whose published fine-tuning is followed; empty: that of --system
nj=2                    # shards of parallel stages
nproc=1                 # processes of a training on CPU
threads=2               # CPU threads of a training process
ngpu=0                  # GPUs of a machine for training, one process each
num_nodes=1             # machines of a pre-training; fine-tuning takes one (its updates are small)
cmd_backend=            # where local/run.sh runs jobs: local, slurm, sge, ssh; empty: CMD_BACKEND, or local
train_cmd=local/run.sh  # how to run a training, Kaldi's grammar
decode_cmd=local/run.sh # how to run array jobs, Kaldi's grammar
stage=                  # first stage to run, number or name, whatever the ledger says
stop_stage=             # last stage to run, number or name
force=false             # make again what was made with another configuration
wait=false              # wait for another run that makes the same output, instead of stopping
dry_run=false           # print every command and stop
status=false            # print what the ledger knows and stop
list_stages=false       # print the stages and stop
# what the presets set, in conf/preset_<preset>.conf
corpus_size=   # size of the built-in corpus: smoke, easy or full
corpus_set=    # settings of the built-in corpus to override
clusters=      # k-means clusters of iteration 1
clusters_next= # k-means clusters of later iterations
cluster_cmvn=  # normalisation of MFCCs before clustering: none, utterance or speaker
cluster_layer= # layer whose features later iterations cluster
fraction=      # share of the utterances that later iterations' k-means is fitted to
label_rate=    # labels a second: the model's frame rate
frontend=      # waveform, or fbank: filter banks are made for all sets
bootstrap=     # system that makes the features of later iterations
beam=          # hypotheses kept by the beam search
probe=         # measure every layer: phone probe and PNMI (needs phone times)
# end of options
. "$TRIVIUM_ROOT/local/preset.sh"
case $system in mt4ssl | hubert | data2vec | offte | scratch) ;; *) usage_error "no system $system" ;; esac
recipe_begin

. local/choices.sh

train=(steps/train.sh --cmd "$train_cmd" --ngpu "$ngpu" --nproc "$nproc" --threads "$threads" --preset "$preset")
array=(--cmd "$decode_cmd" --nj "$nj") on_gpu=()
[ "$ngpu" -eq 0 ] || on_gpu=(--device cuda --gpu 1)

if [ -z "$corpus_dir" ]; then
  # the built-in corpus, or the open parts of LibriSpeech
  stage 1 corpus --out "$corpus" -- steps/make_mini_corpus.sh --size "$corpus_size" \
    --seed "$corpus_seed" --set "$corpus_set" --nj "$nj" "$corpus"
elif [ "$download" = true ]; then
  stage 1 corpus --out "$corpus" -- local/download.sh "$corpus"
fi

# data directories of all sets, labelled split, LM text
stage 2 data --in "$corpus" --out "$data/sets.json" -- local/prepare_data.sh "${array[@]}" \
  --split "$split" --librilight "$librilight" "$corpus" "$data"
labelled=train_$split dev_sets=(dev_clean dev_other) test_sets=(test_clean test_other)
if [ -f "$data/sets.json" ]; then
  read -ra dev_sets < <("$TRIVIUM_PYTHON" -I -S local/list_sets.py "$data/sets.json" dev)
  read -ra test_sets < <("$TRIVIUM_PYTHON" -I -S local/list_sets.py "$data/sets.json" test)
elif [ -z "$corpus_dir" ]; then
  dev_sets=(dev_clean) test_sets=(test_clean)
fi
dev=${dev_sets[-1]} # checkpoint, LM weight and word score are chosen on it: dev_other if there is one

if [ "$frontend" = fbank ]; then
  for group in train "$labelled" "${dev_sets[*]} ${test_sets[*]}"; do
    [ "$system/$group" != scratch/train ] || continue
    read -ra names <<<"$group"
    of_sets wav.scp feats.scp "$exp/feats/fbank" "${names[@]/#/$data/}"
    # filter banks where the model reads them, MFCCs to cluster
    stage 3 feats --in "${ins[@]}" --out "${outs[@]}" -- \
      steps/make_feats.sh "${array[@]}" --kind fbank "${places[@]}"
  done
fi
suffix='' pretrained=()
if [ "$system" != scratch ] && [ "$system" != data2vec ]; then # data2vec has no labels
  of_sets wav.scp mfcc.scp "$exp/feats/mfcc" "$data"/{train,"$dev"}
  stage 3 feats --in "${ins[@]}" --out "${outs[@]}" -- \
    steps/make_feats.sh "${array[@]}" --kind mfcc "${places[@]}"
  # k-means of MFCCs
  stage 4 kmeans --in "$data/train/mfcc.scp" --out "$exp/kmeans_it1/centroids.npy" -- \
    steps/train_kmeans.sh --cmd "$decode_cmd" --feats mfcc --cmvn "$cluster_cmvn" --clusters "$clusters" \
    "$data/train" "$exp/kmeans_it1"
  of_sets mfcc.scp labels.scp '' "$data"/{train,"$dev"}
  # cluster labels at the model's rate, and their quality where phone times are known
  stage 5 labels --in "${ins[@]}" "$exp/kmeans_it1/centroids.npy" --out "${outs[@]}" -- \
    steps/dump_labels.sh "${array[@]}" --rate "$label_rate" "$data"/{train,"$dev"} "$exp/kmeans_it1"
  stage 5 labels --in "$data/$dev/labels.scp" --out "$exp/kmeans_it1/quality_units.json" -- \
    steps/measure_units.sh --system "kmeans it1" "$data/$dev" "$exp/kmeans_it1/quality_units.json"
  for ((it = 1; it < iteration; it++)); do
    model=$exp/pretrain_${bootstrap}_it${it}_s1 next=it$((it + 1))
    # models whose features later iterations cluster: one for all seeds
    stage 6 bootstrap --in "$data/train$suffix/labels.scp" --out "$model/checkpoint_last.pt" -- \
      "${train[@]}" --num-nodes "$num_nodes" --seed 1 --config "$(config_of "$bootstrap" "$it")" \
      --system-name "$bootstrap" --set "targets.clusters=$clusters $set_bootstrap" \
      "$data/train$suffix" "$data/$dev$suffix" "$model"
    clusters=$clusters_next suffix=_$next
    # k-means and labels of those features
    stage 7 relabel --in "$model/checkpoint_last.pt" --out "$data/train$suffix/labels.scp" \
      "$data/$dev$suffix/labels.scp" -- \
      steps/relabel.sh "${array[@]}" ${on_gpu[@]+"${on_gpu[@]}"} --layer "$cluster_layer" --clusters "$clusters" \
      --fraction "$fraction" --rate "$label_rate" --keep-feats false --suffix "$suffix" "$model/checkpoint_last.pt" \
      "$exp/kmeans_$next" "$data/train" "$data/$dev"
    stage 7 relabel --in "$data/$dev$suffix/labels.scp" --out "$exp/kmeans_$next/quality_units.json" -- \
      steps/measure_units.sh --system "kmeans $next" "$data/$dev$suffix" "$exp/kmeans_$next/quality_units.json"
  done
fi
if [ "$system" != scratch ]; then
  model=$exp/pretrain_${system}_it${iteration}_s$seed
  inputs=("$data/train$suffix/wav.scp" "$data/$dev$suffix/wav.scp")
  [ "$system" = data2vec ] || inputs+=("$data/train$suffix/labels.scp" "$data/$dev$suffix/labels.scp")
  # pre-training
  stage 8 pretrain --in "${inputs[@]}" --out "$model/checkpoint_last.pt" -- \
    "${train[@]}" --num-nodes "$num_nodes" --seed "$seed" --config "$(config_of "$system" "$iteration")" \
    --system-name "$system" --set "targets.clusters=$clusters $set_pretrain" "$data/train$suffix" "$data/$dev$suffix" "$model"
  pretrained=(--init "$model/checkpoint_last.pt")
fi

tuned=$exp/finetune_${system}_it${iteration}_${split}_s$seed
# CTC fine-tuning on the labelled split
stage 9 finetune --in "$data/$labelled/text" "${pretrained[@]:1}" --out "$tuned/checkpoint_best.pt" -- \
  "${train[@]}" --seed "$seed" --config "$(ctc_config)" --system-name "$system" "${pretrained[@]}" \
  --set "$set_finetune" "$data/$labelled" "$data/$dev" "$tuned"

# letter lexicon and 4-gram language model
stage 10 lm --in "${lexicon:-$data/lm_text}" --out "$exp/lm/lexicon.txt" -- \
  steps/make_lexicon.sh --column "$([ -n "$lexicon" ] && echo first || echo all)" \
  "${lexicon:-$data/lm_text}" "$exp/lm"
stage 10 lm --in "${lm:-$data/lm_text}" --out "$exp/lm/lm.json" -- \
  steps/make_lm.sh --given "$lm" "$data/lm_text" "$exp/lm"

ins=() outs=() places=() reported=()
for name in "$dev" "${dev_sets[@]}" "${test_sets[@]}"; do
  [[ " ${reported[*]-} " != *" $name "* ]] || continue # dev comes first, once
  reported+=("$name") ins+=("$data/$name/wav.scp") outs=("$tuned/logprobs_$name" "${outs[@]}")
  places+=("$data/$name" "$tuned/logprobs_$name")
done
# log-probabilities, LM weight and word score chosen on dev, greedy and beam search
stage 11 decode --in "$tuned/checkpoint_best.pt" "${ins[@]}" --out "${outs[@]}" -- \
  steps/dump_logprobs.sh "${array[@]}" ${on_gpu[@]+"${on_gpu[@]}"} "$tuned/checkpoint_best.pt" "${places[@]}"
for name in "${reported[@]}"; do
  logprobs=$tuned/logprobs_$name
  stage 11 decode --in "$logprobs" --out "$tuned/decode_${name}_greedy/hyp" -- \
    steps/decode.sh "${array[@]}" --decode greedy "$data/$name" "$logprobs" "$tuned/decode_${name}_greedy"
  if [ "$name" = "$dev" ]; then
    stage 11 decode --in "$logprobs" "$exp/lm" "$data/$dev/text" --out "$tuned/tuned.json" -- \
      steps/tune_lm.sh "${array[@]}" --beam "$beam" "$data/$dev" "$logprobs" "$exp/lm" "$tuned/tuned.json"
  fi
  stage 11 decode --in "$logprobs" "$exp/lm" "$tuned/tuned.json" --out "$tuned/decode_${name}_lm/hyp" -- \
    steps/decode.sh "${array[@]}" --decode lm --lm-dir "$exp/lm" --tuned "$tuned/tuned.json" \
    "$data/$name" "$logprobs" "$tuned/decode_${name}_lm"
  for decode in greedy lm; do
    # WER and CER with intervals and alignments
    stage 12 score --in "$tuned/decode_${name}_$decode/hyp" "$data/$name/text" \
      --out "$tuned/decode_${name}_$decode/scoring" -- \
      steps/score_wer.sh "$data/$name" "$tuned/decode_${name}_$decode"
  done
done

if [ "$probe" = true ] && [ "$system" != scratch ] && [ -z "$corpus_dir" ]; then
  # what each layer knows of phones
  stage 13 probe --in "$model/checkpoint_last.pt" --out "$model/quality_layers.json" -- \
    steps/probe_layers.sh --cmd "$decode_cmd" "$model/checkpoint_last.pt" "$data/$labelled" "$data/$dev" \
    "$model/quality_layers.json"
fi

# report page, table of results, summary.json
stage 14 report --in "$exp"/finetune_*/decode_*/scoring --out "$exp/report/summary.json" -- \
  steps/report.sh --recipe librispeech --preset "$preset" --corpus "$corpus_name" --results "$results" \
  "$exp" "$exp/report"
recipe_end
