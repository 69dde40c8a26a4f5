#!/usr/bin/env bats
# Conversion as a command: features, statistics, two jobs, a page; what is refused leaves nothing
# that looks finished.

load helper

# Once for all tests: each works on a copy. Paths in it are relative.
setup_file() {
  cd "$BATS_FILE_TMPDIR"
  export OMP_NUM_THREADS=1
  mkdir -p audio data/voices
  "$TRIVIUM_PYTHON" - <<'PYTHON'
import numpy as np, soundfile
for number, name in enumerate(("a-1", "a-2", "b-1", "b-2")):
    rng = np.random.default_rng(number)
    wave = 0.2 * np.sin(np.arange(16000) * (0.05 + 0.02 * number)) + 0.01 * rng.standard_normal(16000)
    soundfile.write(f"audio/{name}.flac", wave, 16000)
PYTHON
  printf '%s audio/%s.flac\n' a-1 a-1 a-2 a-2 b-1 b-1 b-2 b-2 >data/voices/wav.scp
  printf '%s %s\n' a-1 a a-2 a b-1 b b-2 b >data/voices/utt2spk
  printf '%s\n' 'a a-1 a-2' 'b b-1 b-2' >data/voices/spk2utt
  "$ROOT/steps/get_utt2dur.sh" data/voices
  "$ROOT/steps/make_feats.sh" --nj 1 --kind logmel data/voices exp/feats
  printf '%s\n' 'a-1 b b-1,b-2' 'b-1 a a-2' >pairs
  convert
}

convert() {
  "$ROOT/steps/convert.sh" --nj 2 --method meanvar --iterations 2 data/voices pairs exp/out
}

setup() {
  scratch
  cp -R "$BATS_FILE_TMPDIR/." .
}

@test "features, statistics, conversion; a second run gives the same bytes" {
  "$ROOT/steps/compute_cmvn.sh" data/voices
  grep -q '"frames": 392' data/voices/logmel_cmvn.json
  files() { find exp/out -type f ! -name '*.log' -exec cksum {} + | sort; }
  first=$(files)
  convert
  [ "$first" = "$(files)" ]
  [ "$(cat exp/out/source)" = $'a-b-1 b-1\nb-a-1 a-1' ]
  grep -q '"conversions": 2' exp/out/convert.json
  "$ROOT/steps/validate_data_dir.sh" --no-feats --no-text --check-audio full exp/out
}

@test "a failed conversion leaves no data directory that could be used" {
  [ -e exp/out/convert.json ] # of an earlier conversion
  printf '%s\n' 'a-9 b b-1' >pairs
  run "$ROOT/steps/convert.sh" --method source data/voices pairs exp/out
  [ "$status" -ne 0 ]
  has "a-9"
  [[ $output != *Traceback* ]]
  [ ! -e exp/out/wav.scp ]
  [ ! -e exp/out/convert.json ]
}

@test "a model that does not convert, and none where one is needed, are refused" {
  run "$ROOT/steps/convert.sh" data/voices pairs exp/out
  [ "$status" -ne 0 ]
  has "give --checkpoint"
  echo nothing >model.pt
  run "$ROOT/steps/convert.sh" --checkpoint model.pt data/voices pairs exp/out
  [ "$status" -ne 0 ]
  has "not a readable checkpoint"
  [[ $output != *Traceback* ]]
}
