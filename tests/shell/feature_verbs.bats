#!/usr/bin/env bats
# Features, k-means, labels and their quality as commands: a second run changes nothing, a killed
# stage leaves nothing that looks finished, the number of jobs changes no label.

load helper

# Once for all tests, audio to judged labels: each works on a copy. Paths in it are relative.
setup_file() {
  cd "$BATS_FILE_TMPDIR"
  export OMP_NUM_THREADS=1
  mkdir -p audio data/train
  "$TRIVIUM_PYTHON" - <<'PYTHON'
import numpy as np, soundfile
for number, name in enumerate(("a-1", "a-2", "b-1", "c-1")):
    rng = np.random.default_rng(number)
    noise = rng.uniform(-0.5, 0.5, 16000 + 1000 * number) * np.repeat(rng.random(20), 1000)[0]
    soundfile.write(f"audio/{name}.flac", noise, 16000)
PYTHON
  printf '%s audio/%s.flac\n' a-1 a-1 a-2 a-2 b-1 b-1 c-1 c-1 >data/train/wav.scp
  printf '%s %s\n' a-1 a a-2 a b-1 b c-1 c >data/train/utt2spk
  printf '%s\n' 'a a-1 a-2' 'b b-1' 'c c-1' >data/train/spk2utt
  "$ROOT/steps/get_utt2dur.sh" data/train
  chain
}

chain() {
  steps make_feats --nj 2 --kind mfcc data/train exp/feats
  steps make_feats --nj 1 --kind fbank data/train exp/feats
  steps train_kmeans --clusters 5 --starts 2 --cmvn speaker data/train exp/km
  steps dump_labels --nj 2 --rate 25 data/train exp/km
  steps measure_units --system test --seed 4 data/train exp/units.json
}

setup() {
  scratch
  cp -R "$BATS_FILE_TMPDIR/." .
}

steps() { "$ROOT/steps/$1.sh" "${@:2}"; }

files() { find "$@" -type f ! -name '*.log' -printf '%p ' -exec cksum {} \; | sort; }

@test "every verb prints help: without arguments exit 2, with --help exit 0" {
  for verb in make_feats compute_cmvn train_kmeans dump_labels dump_feats measure_units probe_layers; do
    run --separate-stderr "$ROOT/steps/$verb.sh"
    [ "$status" -eq 2 ]
    [[ $stderr == *"Usage: steps/$verb.sh"* ]]
    run "$ROOT/steps/$verb.sh" --help
    [ "$status" -eq 0 ]
    has "Usage: steps/$verb.sh"
  done
}

@test "the chain from audio to judged labels; a second run gives the same bytes" {
  [ "$(wc -l <data/train/labels.scp)" -eq 4 ]
  grep -q '"rate": 25.0' data/train/labels.json
  grep -q '"seed": 4' exp/units.json
  before=$(files data exp)
  chain
  [ "$before" = "$(files data exp)" ]
}

@test "labels are the same for any number of jobs" {
  labels() {
    "$TRIVIUM_PYTHON" -c 'from pylib.units.labels import LabelReader as R
r = R("data/train"); print([r.read(u).tolist() for u in r.utts])'
  }
  several=$(labels)
  rm -r exp/feats exp/km/labels data/train/mfcc.scp data/train/labels.scp
  steps make_feats --nj 1 --kind mfcc data/train exp/feats
  for nj in 1 4; do
    steps dump_labels --nj "$nj" --rate 25 data/train exp/km
    [ "$several" = "$(labels)" ]
  done
}

# Log filter banks below: they need no torch, which takes each process longer to start than to work.

@test "an utterance that fails is named, and nothing is left" {
  : >audio/b-1.flac
  run steps make_feats --nj 2 --kind logfbank data/train exp/feats
  [ "$status" -eq 1 ]
  has "'b-1'"
  has '0 bytes'
  [ ! -e data/train/logfbank.scp ]
}

@test "a shard killed with -9 leaves nothing finished; run again it gives the same bytes" {
  # Fifty minutes that are the same half minute over and over: long enough to be hit in the middle.
  "$TRIVIUM_PYTHON" -c 'import numpy as np, soundfile
soundfile.write("audio/long.flac", np.random.default_rng(0).uniform(-0.5, 0.5, 480000), 16000)'
  mkdir data/long
  for number in $(seq -w 100); do
    echo "s-$number audio/long.flac" >>data/long/wav.scp
    echo "s-$number s" >>data/long/utt2spk
  done
  "$TRIVIUM_PYTHON" -m pylib.bin.make_feats --kind logfbank --shard 1/1 data/long exp/long &
  job=$!
  begun() { [ -n "$(find exp/long -name '.1.ark.tmp*' -size +100k 2>/dev/null)" ]; }
  eventually 60 begun
  kill -9 "$job"
  wait "$job" || true
  [ -z "$(find exp/long -name '1.ark' -o -name '1.scp')" ]
  run "$TRIVIUM_PYTHON" -m pylib.bin.make_feats --kind logfbank --merge 1 data/long exp/long
  [ "$status" -eq 1 ]
  has 'shard 1/1 is missing'
  [ ! -e data/long/logfbank.scp ]
  steps make_feats --nj 1 --kind logfbank data/long exp/long
  after=$(files exp/long data/long)
  [[ $after != *.tmp* ]]
  rm -r exp/long data/long/logfbank.scp data/long/logfbank.json
  steps make_feats --nj 1 --kind logfbank data/long exp/long
  [ "$after" = "$(files exp/long data/long)" ]
}

@test "features of another kind than the k-means's are refused, both named" {
  rm data/train/labels.scp
  sed -i 's/"stem": "mfcc"/"stem": "feats"/' exp/km/kmeans.json
  run steps dump_labels --nj 1 data/train exp/km
  [ "$status" -eq 1 ]
  has "data/train/feats.json: kind is 'fbank', but the k-means exp/km was fitted to features (mfcc"
  [ ! -e data/train/labels.scp ]
}
