#!/usr/bin/env bash
# Usage: bash run.sh [options]
#
# VATLM and AV-HuBERT on LRS3: mouth regions, unified units, pre-training on video, audio and text,
# fine-tuning, decoding with audio, video or both, clean and in noise, report. Without options: the
# built-in talking-face corpus, preset mini. What is up to date is not run again.
#
#   bash run.sh --preset small --systems "avhubert vatlm"            the comparison on one machine
#   bash run.sh --preset base --corpus-dir /data/LRS3 --musan /data/musan --tedlium /data/TEDLIUM_release-3 \
#     --audio-dir /data/gigaspeech --text /data/cantab.txt.gz --ngpu 8 --dry-run
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../path.sh"

# options
preset=mini             # smoke, mini, small, base or large: conf/preset_<preset>.conf and conf/*_<preset>.toml
systems=                # what to train, parted by blanks: vatlm, avhubert, scratch (no pre-training)
iteration=              # label iteration: 1 = clusters of MFCCs, n = clusters of AV-HuBERT of iteration n-1
seed=1                  # seed of initial weights, batches, masks and noise
corpus_dir=             # the real LRS3 (or LRS2) tree in its published layout; empty: the built-in corpus is made (base, large: needed)
corpus_seed=1           # seed of the built-in corpus
vox=                    # VoxCeleb2 tree whose clips join the pre-training
vox_list=               # list of its clips to use, such as the English ones; empty: all
tedlium=                # TED-LIUM 3 tree, audio with text; empty: the labelled set's audio and text
audio_dir=              # tree of audio files without text; empty: none
text=                   # lines of text without audio, may be gzipped; empty: none
musan=                  # MUSAN tree (music, noise, speech); empty: babble and speech of the training audio only
valid_list=             # list of the validation clips; empty: drawn from trainval by a hash of the ids
labelled=30h            # labelled data: 30h (trainval) or 433h (pretrain too)
exp=exp                 # directory of everything an experiment makes
data=                   # directory of data directories; empty: data, or <exp>/data for another --exp
results=                # also write the tables of results to this file, e.g. RESULTS.md
set_pretrain=           # settings of the pre-training to override, e.g. "optim.lr=3e-4"
set_finetune=           # settings of the fine-tuning to override
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
corpus_size= # size of the built-in corpus: smoke, easy or full
corpus_set=  # settings of the built-in corpus to override
clusters=    # units of each iteration, the last number for all that follow
layers=      # layer whose features each later iteration clusters, likewise
fraction=    # share of the utterances that k-means is fitted to
vocab=       # subword pieces, at most
finetune=    # models tuned: all (one for A, V and AV), av, v, a
conditions=  # test conditions: clean, <noise>:<SNR in dB>
beam=        # hypotheses kept by the search
every=       # frames between two face detections
analyse=     # what each layer and modality knows of phones, and retrieval between modalities
# end of options
. "$TRIVIUM_ROOT/local/preset.sh"
. local/choices.sh
check_options
recipe_begin

array=(--cmd "$decode_cmd" --nj "$nj")
train=(steps/train.sh --cmd "$train_cmd" --ngpu "$ngpu" --nproc "$nproc" --threads "$threads" --preset "$preset")
corpus=${corpus_dir:-$data/local/corpus/lrs3} corpus_name=LRS3
if [ -z "$corpus_dir" ]; then
  made=$data/local/corpus corpus_name="built-in $corpus_size"
  : "${tedlium:=$made/tedlium3}" "${audio_dir:=$made/audio}" "${text:=$made/text/lm.txt.gz}" "${musan:=$made/musan}"
  # the built-in talking-face corpus
  stage 1 corpus --out "$made" -- steps/make_mini_corpus.sh --layout lrs3 --size "$corpus_size" \
    --seed "$corpus_seed" --set "$corpus_set" --nj "$nj" "$made"
fi
# data directories of all sets; noise
stage 2 data --in "$corpus" --out "$data/sets.json" -- local/prepare_data.sh "${array[@]}" --labelled "$labelled" \
  --valid-list "$valid_list" --vox "$vox" --vox-list "$vox_list" --tedlium "$tedlium" --audio-dir "$audio_dir" \
  --text "$text" "$corpus" "$data"
stage 2 data --in "$data/sets.json" --out "$data/noise/noise.json" -- \
  local/prepare_noise.sh --nj "$nj" --musan "$musan" "$data/pretrain" "$data/noise"

speech=("$data/mouth/pretrain" "$data/audiotext" "$data/audiotext_dev")
[ -z "$audio_dir" ] || speech+=("$data/onlyaudio")
for name in pretrain dev test; do
  # mouth regions; clips without a face are left out and counted
  stage 3 mouth --in "$data/$name/video.scp" --out "$data/mouth/$name/mouth.scp" -- steps/make_mouth.sh \
    "${array[@]}" --every "$every" "$data/$name" "$data/mouth/$name" "$exp/feats/mouth_$name"
done
for kind in logfbank mfcc; do
  of_sets wav.scp "$kind.scp" "$exp/feats/$kind" "$data"/mouth/{test,dev} "${speech[@]}"
  # log filter banks for the models, MFCCs to cluster and to align
  stage 4 feats --in "${ins[@]}" --out "${outs[@]}" -- \
    steps/make_feats.sh "${array[@]}" --kind "$kind" "${places[@]}"
done
# The whole test set is heard and scored, also where no mouth was found.
stage 4 feats --in "$data/test/wav.scp" --out "$data/test/logfbank.scp" -- steps/make_feats.sh "${array[@]}" \
  --kind logfbank "$data/test" "$exp/feats/logfbank_whole_test"
stage 4 feats --in "$data/labelled/utt2spk" "$data/mouth/pretrain/logfbank.scp" \
  --out "$data/mouth/labelled/logfbank.scp" -- \
  local/take_labelled.sh "$data/labelled" "$data/mouth/pretrain" "$data/mouth/labelled"
# subword pieces of the labelled text; phones of the audio-text set
stage 5 text --in "$data/mouth/labelled/text" --out "$exp/subwords/spm.model" -- \
  steps/train_subwords.sh --vocab "$vocab" "$data/mouth/labelled" "$exp/subwords"
if [[ " $systems " = *" vatlm "* ]] || { [ "$analyse" = true ] && [ "$systems" != scratch ]; }; then
  stage 5 text --in "$data/audiotext/mfcc.scp" "$data/audiotext/text" --out "$data/audiotext/phones.scp" -- \
    steps/align_phones.sh "${array[@]}" "$data/audiotext" "$exp/align"
  for name in audiotext_dev mouth/test; do
    [ "$name" = audiotext_dev ] || [ "$analyse" = true ] || continue
    stage 5 text --in "$data/$name/mfcc.scp" "$data/audiotext/phones.scp" --out "$data/$name/phones.scp" -- \
      steps/align_phones.sh "${array[@]}" --hmm "$exp/align/hmm_audiotext" "$data/$name" "$exp/align"
  done
fi
# k-means of MFCCs and their labels
stage 6 units --in "$data/mouth/pretrain/mfcc.scp" --out "$exp/kmeans_it1/centroids.npy" -- \
  steps/train_kmeans.sh --cmd "$decode_cmd" --feats mfcc --clusters "$(nth 1 "$clusters")" \
  --fraction "$fraction" "$data/mouth/pretrain" "$exp/kmeans_it1"
of_sets mfcc.scp labels.scp '' "$data/mouth/dev" "${speech[@]}"
stage 6 units --in "${ins[@]}" "$exp/kmeans_it1/centroids.npy" --out "${outs[@]}" -- \
  steps/dump_labels.sh "${array[@]}" --rate 25 --align start "$data/mouth/dev" "${speech[@]}" "$exp/kmeans_it1"
suffix=''
for ((it = 1; it < iteration; it++)); do
  model=$exp/pretrain_avhubert_it${it}_s1 next=it$((it + 1))
  config=$(chosen "avhubert_$preset" "${vox:+vox}")
  config+=" $(chosen "bootstrap_$preset" "${vox:+vox}" "it$((it > 1 ? 2 : 1))")"
  # AV-HuBERT of the iterations before, whose features the next one clusters
  stage 7 bootstrap --in "$data/mouth/pretrain$suffix/labels.scp" --out "$model/checkpoint_last.pt" -- \
    "${train[@]}" --num-nodes "$num_nodes" --seed 1 --config "$config" --system-name avhubert \
    --set "units.clusters=$(nth "$it" "$clusters") $set_pretrain" "$data/mouth/pretrain$suffix" \
    "$data/mouth/dev$suffix" "$model"
  suffix=_$next outs=()
  for dir in "${speech[@]}" "$data/mouth/dev"; do outs+=("$dir$suffix/labels.scp"); done
  # k-means and labels of those features, both modalities in where there are two
  stage 8 relabel --in "$model/checkpoint_last.pt" --out "${outs[@]}" -- \
    steps/relabel.sh "${array[@]}" "${on_gpu[@]}" --layer "$(nth "$it" "$layers")" --rate 25 --suffix "$suffix" \
    --clusters "$(nth "$((it + 1))" "$clusters")" --fraction "$fraction" --keep-feats false \
    "$model/checkpoint_last.pt" "$exp/kmeans_$next" "${speech[@]}" "$data/mouth/dev"
done
mixture=''
if [[ " $systems " = *" vatlm "* ]]; then
  mixture="mixture.audiotext=$data/audiotext$suffix$turns"
  [ -z "$audio_dir" ] || mixture+=" mixture.onlyaudio=$data/onlyaudio$suffix"
  if [ -n "$text" ]; then
    # the phone-to-unit model, and units of the text-only set
    stage 9 phone2unit --in "$data/audiotext$suffix/labels.scp" "$data/audiotext/phones.scp" \
      --out "$exp/phone2unit$suffix/checkpoint_best.pt" -- "${train[@]}" --ngpu "$((ngpu > 0))" --seed 1 \
      --config "conf/phone2unit_$preset.toml" --set "phone2unit.clusters=$(nth "$iteration" "$clusters")" \
      --system-name phone2unit "$data"/audiotext{,_dev}"$suffix" "$exp/phone2unit$suffix"
    stage 9 phone2unit --in "$exp/phone2unit$suffix/checkpoint_best.pt" "$data/onlytext/text" \
      --out "$data/onlytext_units$suffix/labels.scp" -- steps/make_text_units.sh "${array[@]}" \
      --checkpoint "$exp/phone2unit$suffix/checkpoint_best.pt" "$data/onlytext" "$data/onlytext_units$suffix"
    mixture+=" mixture.onlytext=$data/onlytext_units$suffix"
  fi
fi

shopt -s nullglob
for system in $systems; do
  init=()
  if [ "$system" != scratch ]; then
    model=$exp/pretrain_${system}_it${iteration}_s$seed given=$set_pretrain
    inputs=("$data/mouth/pretrain$suffix/labels.scp")
    [ "$system" = avhubert ] || given="$mixture $set_pretrain"
    for word in $given; do [ ! -e "${word#*=}" ] || inputs+=("${word#*=}/labels.scp"); done
    # pre-training
    stage 10 pretrain --in "${inputs[@]}" --out "$model/checkpoint_last.pt" -- "${train[@]}" --num-nodes "$num_nodes" --seed "$seed" \
      --config "$(chosen "${system}_$preset" "${vox:+vox}")" --system-name "$system" \
      --set "units.clusters=$(nth "$iteration" "$clusters") $given" "$data/mouth/pretrain$suffix" \
      "$data/mouth/dev$suffix" "$model"
    init=(--init "$model/checkpoint_last.pt")
  fi
  for streams in $finetune; do
    tuned=$exp/finetune_${system}_it${iteration}_${labelled}_${streams}_s$seed modalities=$streams name=$system
    [ "$streams" != all ] || modalities="av a v"
    [ "$streams" = all ] || name=${system}_$streams
    config=$(chosen "seq2seq_$preset" "$streams" "$labelled" "${vox:+vox}")
    [ "$system" != scratch ] || config="conf/scratch_$preset.toml $config"
    # fine-tuning on the labelled set
    stage 11 finetune --in "$data/mouth/labelled/text" "$exp/subwords/spm.model" "${init[@]:1}" \
      --out "$tuned/checkpoint_best.pt" -- "${train[@]}" --seed "$seed" --config "$config" --system-name "$name" \
      "${init[@]}" --set "av_data.subwords=$exp/subwords/spm.model av_data.noise=$data/noise$(tuned_for "$streams" "$system") $set_finetune" \
      "$data/mouth/labelled" "$data/mouth/dev" "$tuned"
    # length penalty and CTC weight chosen on dev; every modality in every condition, WER and CER
    stage 12 decode --in "$tuned/checkpoint_best.pt" "$data/noise/noise.json" "$data/test/logfbank.scp" \
      "$data/mouth/test/mouth.scp" --out "$tuned/$(first_decoding "$modalities" "$conditions")/scoring" -- \
      local/recognise.sh "${array[@]}" --beam "$beam" --modalities "$modalities" --conditions "$conditions" \
      --noise "$data/noise" --pictures "$data/mouth/test" "$tuned/checkpoint_best.pt" "$data"/{mouth/dev,test} "$tuned"
  done
  [ "$system" != scratch ] && [ "$analyse" = true ] || continue
  # phones in every layer, and the modalities in one space
  stage 13 analyse --in "$model/checkpoint_last.pt" "$data/mouth/test/phones.scp" --out "$model/quality_modalities.json" -- \
    steps/analyse_modalities.sh "$model/checkpoint_last.pt" "$data/mouth/test" "$model/quality_modalities.json"
done

# report page with the mouths, tables of results, summary.json
stage 14 report --in "$exp"/finetune_*/decode_*/scoring --out "$exp/report/summary.json" -- \
  steps/report.sh --recipe lrs3 --preset "$preset" --corpus "$corpus_name" --results "$results" \
  --mouths "$data/mouth/test" "$exp" "$exp/report"
recipe_end
