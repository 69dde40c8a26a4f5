#!/usr/bin/env bash
# Usage: bash run.sh [options]
#
# FHVAE and contrastive FHVAE on VCTK: training, what each latent knows (speakers, words, phones),
# voice conversion judged by systems not trained here, report. Without options: the built-in corpus,
# preset mini; ends with tables and exp/report/index.html. What is up to date is not run again.
#
#   bash run.sh --systems "cfhvae cfhvae_alpha1"    other objectives: conf/objective_<system>.toml
#   bash run.sh --preset base --corpus-dir /data/VCTK-Corpus-0.92 --ngpu 1 --dry-run
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../path.sh"

# options
preset=mini             # smoke, mini, small, base or large: conf/preset_<preset>.conf and conf/*_<preset>.toml
systems=                # what to train, parted by blanks: conf/objective_<system>.toml
seed=1                  # seed of initial weights, segments and noise
corpus_dir=             # the real VCTK tree (0.92 or 0.80); empty: the built-in corpus is made
corpus_seed=1           # seed of the built-in corpus
download=false          # first fetch VCTK 0.92 into --corpus-dir
mic=mic1                # microphone of VCTK 0.92
unseen=                 # list of speakers kept out of training; empty: conf/unseen_speakers.txt, or drawn
train_set=              # a data directory to train on instead of VCTK; needs --unseen-set
unseen_set=             # a data directory of other speakers to verify
chunk=0                 # cut the recordings of --train-set into pieces of so many seconds
ssl=                    # a checkpoint of egs/librispeech whose features are the input instead
ssl_layer=4             # its layer
exp=exp                 # directory of everything an experiment makes
data=                   # directory of data directories; empty: data, or <exp>/data for another --exp
results=                # also write the tables of results to this file, e.g. RESULTS.md
set_train=              # settings of the training to override, e.g. "optim.lr=3e-4 objective.alpha=2.0"
nj=2                    # shards of parallel stages
nproc=1                 # processes of a training on CPU
threads=2               # CPU threads of a training process
ngpu=0                  # GPUs of a machine for training, one process each
num_nodes=1             # machines of a training
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
corpus_size=     # size of the built-in corpus: smoke, easy or full
corpus_set=      # settings of the built-in corpus to override
feats=           # input: logmel, logspec or logspec200
latent_hop=      # frames between the windows of content features (published: 1)
recognise=       # latents on which recognisers are trained: z1, z2
methods=         # conversions with the latents: shift, replace, knn_z1
baselines=       # conversions without a model: source and target (copy synthesis), meanvar, knn_mel
quality_utts=    # conversions whose quality is predicted (DNSMOS), of each kind: it is slow
vocoder=         # griffinlim or world
references=      # utterances of the target speaker that a conversion hears
pair_speakers=   # source speakers, and target speakers, of the conversion pairs
pair_utterances= # utterances converted of a pair
# end of options
asked=("$@")
. "$TRIVIUM_ROOT/local/preset.sh"
. local/choices.sh
[ "$list_stages" = true ] || check_options
recipe_begin
choose_sets

array=(--cmd "$decode_cmd" --nj "$nj") stem=${feats%200}
train=(steps/train.sh --cmd "$train_cmd" --threads "$threads" --preset "$preset")
shared=(--ngpu "$ngpu" --nproc "$nproc" --num-nodes "$num_nodes")
if [ -n "$train_set" ]; then
  stage 2 data --in "$train_set" "$unseen_set" --out "$data/unseen/trials" -- \
    local/prepare_sets.sh "${array[@]}" --chunk "$chunk" "$train_set" "$unseen_set" "$data"
else
  if [ -z "$corpus_dir" ]; then
    # the built-in corpus, or the download of VCTK
    stage 1 corpus --out "$corpus" -- steps/make_mini_corpus.sh --layout vctk --size "$corpus_size" \
      --seed "$corpus_seed" --set "$corpus_set" --nj "$nj" "$corpus"
  elif [ "$download" = true ]; then
    stage 1 corpus --out "$corpus" -- local/download.sh "$corpus"
  fi
  # data directories, levels normalised; speakers split, trials and conversion pairs drawn
  stage 2 data --in "$corpus" --out "$data/sets.json" -- local/prepare_data.sh "${array[@]}" --mic "$mic" \
    --unseen "$unseen" --sources "$pair_speakers" --targets "$pair_speakers" --utterances "$pair_utterances" \
    --references "$references" "$corpus" "$data"
fi
check_sets
if [[ " ${sets[*]} " = *" parallel_unseen "* ]]; then
  stage 2 data --in "$data/sets.json" --out "$data/natural/wav.scp" -- local/conversion_sets.sh "$data"
fi
if [ -n "$ssl" ]; then
  stem=hidden$ssl_layer
  of_sets wav.scp feats.scp "$exp/feats/fbank" "${sets[@]/#/$data/}"
  # log-mels or log-spectra, and the normalisation of the training set
  stage 3 feats --in "${ins[@]}" --out "${outs[@]}" -- \
    steps/make_feats.sh "${array[@]}" --kind fbank "${places[@]}"
  of_sets feats.scp "$stem.scp" "$exp/feats/$stem" "${sets[@]/#/$data/}"
  stage 3 feats --in "${ins[@]}" "$ssl" --out "${outs[@]}" -- \
    steps/dump_feats.sh "${array[@]}" --layer "$ssl_layer" "$ssl" "${places[@]}"
else
  of_sets wav.scp "$stem.scp" "$exp/feats/$feats" "${sets[@]/#/$data/}"
  stage 3 feats --in "${ins[@]}" --out "${outs[@]}" -- \
    steps/make_feats.sh "${array[@]}" --kind "$feats" "${places[@]}"
fi
stage 3 feats --in "$data/train/$stem.scp" --out "$data/train/${stem}_cmvn.json" -- \
  steps/compute_cmvn.sh --feats "$stem" "$data/train"
if [ ${#aligned[@]} -gt 0 ]; then
  stage 3 feats --in "$data"/{train,unseen}/{wav.scp,text} --out "${aligned[@]}" -- \
    local/align_content.sh "${array[@]}" "$data/train" "$data/unseen" "$exp/align"
fi

judge=$exp/recogniser_$stem base=$exp/baselines models=()
if [ "$text" = true ]; then
  # the recogniser of the input features: reference of the content latents, judge of conversions
  stage 4 recogniser --in "$data/train/$stem.scp" --out "$judge/checkpoint_best.pt" -- \
    "${train[@]}" "${shared[@]}" --seed 1 --config "conf/ctc_$preset.toml" --system-name "$stem" \
    --set "data.features=$stem" "$data/train" "$data/dev" "$judge"
  stage 4 recogniser --in "$judge/checkpoint_best.pt" --out "$judge/decode_unseen_greedy/scoring" -- \
    local/recognise.sh "${array[@]}" "$judge/checkpoint_best.pt" "$data/unseen" "$judge"
fi

for system in $systems; do
  model=$exp/${system}_s$seed latents=$exp/${system}_s$seed/latents && models+=("$model")
  # the variational autoencoders
  stage 5 train --in "$data/train/$stem.scp" "$data/train/${stem}_cmvn.json" "$data/dev/$stem.scp" \
    --out "$model/checkpoint_best.pt" -- "${train[@]}" --ngpu $((ngpu > 0)) --seed "$seed" \
    --config "$(fhvae_config "$system")" --system-name "$system" \
    --set "segments.features=$stem$fill $set_train" "$data/train" "$data/dev" "$model"
  of_latents "$latents"
  # sequence vectors, and content features of every frame
  stage 6 latents --in "$model/checkpoint_best.pt" "${ins[@]}" --out "${outs[@]}" -- \
    steps/dump_latents.sh "${array[@]}" --hop "$latent_hop" "$model/checkpoint_best.pt" "${places[@]}"
  for latent in svector z1mean; do
    out=$model/quality_sv_$latent.json
    # speakers: verification of unseen ones, identification of seen ones
    stage 7 speakers --in "$latents/train" "$latents/unseen" "$trials" --out "$out" -- \
      steps/score_sv.sh --latent "$latent" "$latents/train" "$latents/unseen" "$trials" "$out"
  done
  if [[ " ${sets[*]} " = *" test "* ]]; then
    stage 7 speakers --in "$latents/train" "$latents/test" --out "$model/quality_sid.json" -- \
      steps/score_sid.sh "$latents/train" "$latents/test" "$model/quality_sid.json"
  fi
  for latent in $recognise; do
    ctc=$model/ctc_$latent name=$system
    [ "$latent" = z1 ] || name=${system}_$latent
    # words: a recogniser of the latents; phones: a linear probe, and one fitted on men for women
    stage 8 content --in "$latents/train" --out "$ctc/checkpoint_best.pt" -- \
      "${train[@]}" "${shared[@]}" --seed "$seed" --config "conf/ctc_$preset.toml" --system-name "$name" \
      --set "data.features=$latent" "$latents/train" "$latents/dev" "$ctc"
    stage 8 content --in "$ctc/checkpoint_best.pt" --out "$ctc/decode_unseen_greedy/scoring" -- \
      local/recognise.sh "${array[@]}" "$ctc/checkpoint_best.pt" "$latents/unseen" "$ctc"
  done
  [ "$phones$text" = truetrue ] || continue
  stage 8 content --in "$latents/train" "$latents/unseen" --out "$model/quality_phones_f.json" -- \
    local/probe_content.sh --cmd "$decode_cmd" "$latents/train" "$latents/unseen" "$latents/by_gender" \
    "$model/quality_phones"
done
if [ "$phones" = true ]; then
  stage 8 content --in "$data"/{train,unseen}/"$stem.scp" ${aligned[@]+"${aligned[@]}"} \
    --out "$base/quality_phones_f.json" -- \
    local/probe_content.sh --cmd "$decode_cmd" --feats "$stem" "$data/train" "$data/unseen" "$data/by_gender" \
    "$base/quality_phones"
fi

if [ -n "$methods" ]; then
  # natural speech before the judges: the threshold of acceptance
  stage 9 natural --in "$data/natural/wav.scp" "$trials" --out "$base/quality_natural.json" -- \
    steps/judge_natural.sh "${array[@]}" --quality-utts "$quality_utts" "$data/natural" "$trials" \
    "$base/quality_natural.json"
  for run in "$base" "${models[@]}"; do
    names=$methods given=(--checkpoint "$run/checkpoint_best.pt")
    [ "$run" != "$base" ] || names=$baselines given=(--feats "$stem")
    for method in $names; do
      out=$run/convert/$method identity=() inputs=("$run/checkpoint_best.pt")
      [ "$run" != "$base" ] || identity=(--system "$method") inputs=()
      # conversions, and baselines without a model
      stage 10 convert --in "$data/parallel/pairs" "$data/parallel_unseen/$stem.scp" ${inputs[@]+"${inputs[@]}"} \
        --out "$out/wav.scp" "$out/convert.json" -- \
        steps/convert.sh "${array[@]}" --method "$method" --vocoder "$vocoder" "${given[@]}" \
        "$data/parallel_unseen" "$data/parallel/pairs" "$out"
      heard=("$out"/{wav.scp,convert.json,wav}) # what was made by what: wav.scp holds names only
      # speaker, quality, spectrum, pitch, detection; words
      stage 11 judge --in "${heard[@]}" "$base"/convert/source/{wav.scp,convert.json,wav} "$trials" \
        "$data/natural/wav.scp" "$base/quality_natural.json" --out "$run/quality_vc_$method.json" -- \
        steps/judge_conversion.sh "${array[@]}" --threshold "$base/quality_natural.json" \
        --quality-utts "$quality_utts" --bona-fide "$base/convert/source" "$data/natural" "$trials" "$out" \
        "$run/quality_vc_$method.json"
      stage 11 judge --in "${heard[@]}" "$judge/checkpoint_best.pt" --out "$run/decode_${method}_greedy/scoring" -- \
        local/recognise.sh "${array[@]}" --feats "$feats" "${identity[@]}" "$judge/checkpoint_best.pt" "$out" "$run"
    done
  done
fi

shopt -s nullglob
# tables, pictures of the latents, players; summary.json
stage 12 report --in "$exp"/*/quality*.json "$exp"/*{,/ctc_*}/decode_*/scoring --out "$exp/report/summary.json" -- \
  steps/report.sh --recipe vctk --preset "$preset" --corpus "$corpus_name" --results "$results" \
  --latents "$exp/*/latents/unseen" --conversions "$exp/*/convert/*" "$exp" "$exp/report"
recipe_end
