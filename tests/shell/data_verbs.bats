#!/usr/bin/env bats
# The data directory verbs as commands: Kaldi's option names and success lines, exit codes, and that
# a second run changes nothing.

load helper

# Made once; each test works on a copy. Paths in it are relative.
setup_file() {
  cd "$BATS_FILE_TMPDIR"
  mkdir -p audio data/train
  "$TRIVIUM_PYTHON" - <<'PYTHON'
import numpy as np, soundfile
for number, name in enumerate(("a-1", "a-2", "b-1", "c-1")):
    noise = np.random.default_rng(number).uniform(-0.5, 0.5, 8000 + 1000 * number)
    soundfile.write(f"audio/{name}.flac", noise, 16000)
PYTHON
  printf '%s audio/%s.flac\n' a-1 a-1 a-2 a-2 b-1 b-1 c-1 c-1 >data/train/wav.scp
  printf '%s %s\n' a-1 a a-2 a b-1 b c-1 c >data/train/utt2spk
  printf '%s\n' 'a-1 HELLO' 'a-2 A SHIP' 'b-1 THE END' 'c-1 ÄRGER' >data/train/text
  printf '%s\n' 'a a-1 a-2' 'b b-1' 'c c-1' >data/train/spk2utt
}

setup() {
  scratch
  cp -R "$BATS_FILE_TMPDIR/." .
}

files() { find "$1" -type f -printf '%P ' -exec cksum {} \; | sort; }

@test "every verb prints help without arguments on stderr, exit 2, and with --help, exit 0" {
  for verb in validate_data_dir fix_data_dir subset_data_dir combine_data copy_data_dir split_data \
    data_info get_utt2dur; do
    run --separate-stderr "$ROOT/steps/$verb.sh"
    [ "$status" -eq 2 ]
    [[ $stderr == *"Usage: steps/$verb.sh"* ]]
    run "$ROOT/steps/$verb.sh" --help
    [ "$status" -eq 0 ]
    has "Usage: steps/$verb.sh"
    run "$ROOT/steps/$verb.sh" --no-such-option data/train
    [ "$status" -eq 2 ]
  done
}

@test "validate: Kaldi's success line; a flag alone and with a value" {
  for flag in --no-feats '--no-feats true' --no-feats=true; do
    # shellcheck disable=SC2086
    run "$ROOT/steps/validate_data_dir.sh" $flag data/train
    [ "$status" -eq 0 ]
    has 'validate_data_dir.sh: Successfully validated data-directory data/train'
  done
  run "$ROOT/steps/validate_data_dir.sh" data/train
  [ "$status" -eq 1 ]
  has 'data/train/feats.scp: missing-file'
  lacks 'Successfully'
}

@test "validate: all defects of all directories in one run, exit 1" {
  cp -R data/train data/test
  sed -i 's/a-2 a/a-2 a x/' data/test/utt2spk
  sed -i 's/b-1 THE END/b-1/' data/test/text
  run "$ROOT/steps/validate_data_dir.sh" --no-feats --json found.json data/train data/test
  [ "$status" -eq 1 ]
  has 'data/test/utt2spk:2: fields: '
  has 'data/test/text:3: empty-text: '
  has 'Successfully validated data-directory data/train'
  grep -q '"utterances": 4' found.json
}

@test "validate: disjoint speakers where the protocol says so" {
  cp -R data/train data/test
  run "$ROOT/steps/validate_data_dir.sh" --no-feats data/train data/test
  [ "$status" -eq 0 ]
  run "$ROOT/steps/validate_data_dir.sh" --no-feats --disjoint speakers data/train data/test
  [ "$status" -eq 1 ]
  has "speaker 'a' is also in data/train"
}

@test "fix: a shrinking test set is refused and nothing is written" {
  mv data/train data/test_clean
  sed -i 2,3d data/test_clean/text
  before=$(files data)
  run "$ROOT/steps/fix_data_dir.sh" data/test_clean
  [ "$status" -eq 1 ]
  has '2 of 4 utterances would be dropped'
  [ "$before" = "$(files data)" ]
  run "$ROOT/steps/fix_data_dir.sh" --max-drop 0.5 data/test_clean
  [ "$status" -eq 0 ]
  has 'fix_data_dir.sh: kept 2 utterances out of 4'
  grep -q 'dropped a-2: not in text' data/test_clean/fix_data_dir.1.log
  before=$(files data)
  run "$ROOT/steps/fix_data_dir.sh" data/test_clean
  [ "$status" -eq 0 ]
  has 'fix_data_dir.sh: kept all 2 utterances.'
  [ "$before" = "$(files data)" ]
}

@test "get_utt2dur, then info in text and JSON" {
  run "$ROOT/steps/get_utt2dur.sh" --nj 2 data/train
  [ "$status" -eq 0 ]
  [ "$(head -n 1 data/train/utt2num_samples)" = 'a-1 8000' ]
  [ "$(head -n 1 data/train/utt2dur)" = 'a-1 0.5' ]
  run "$ROOT/steps/data_info.sh" data/train
  has 'speakers              3'
  run "$ROOT/steps/data_info.sh" --format json data/train
  has '"utterances": 4'
}

@test "subset: the numbers in Kaldi's words, too many is an error, one selection at a time" {
  run "$ROOT/steps/subset_data_dir.sh" --first data/train 2 data/some
  [ "$status" -eq 0 ]
  has 'subset_data_dir.sh: reducing #utt from 4 to 2'
  [ "$(cut -d' ' -f1 data/some/text | paste -sd' ')" = 'a-1 a-2' ]
  printf 'c\nb\n' >speakers
  run "$ROOT/steps/subset_data_dir.sh" --spk-list speakers data/train data/some
  [ "$(cut -d' ' -f1 data/some/text | paste -sd' ')" = 'b-1 c-1' ]
  run "$ROOT/steps/subset_data_dir.sh" data/train 5 data/more
  [ "$status" -eq 1 ]
  has '5 utterances asked for, 4 available'
  [ ! -e data/more ]
  run "$ROOT/steps/subset_data_dir.sh" --first --last data/train 2 data/more
  [ "$status" -eq 2 ]
  run "$ROOT/steps/subset_data_dir.sh" --first data/train two data/more
  [ "$status" -eq 2 ]
}

@test "combine: a destination among the sources is refused and left alone" {
  before=$(files data)
  run "$ROOT/steps/combine_data.sh" data/train data/train
  [ "$status" -eq 1 ]
  has 'is among the sources'
  [ "$before" = "$(files data)" ]
}

@test "copy with prefixes in both spellings, validated" {
  run "$ROOT/steps/copy_data_dir.sh" --spk-prefix=p- --utt-prefix p- data/train data/copy
  [ "$status" -eq 0 ]
  has 'copy_data_dir.sh: copied data from data/train to data/copy'
  has 'Successfully validated data-directory data/copy'
  [ "$(head -n 1 data/copy/utt2spk)" = 'p-a-1 p-a' ]
  run "$ROOT/steps/combine_data.sh" data/all data/train data/copy
  [ "$status" -eq 0 ]
  has '8 utterances'
  run "$ROOT/steps/copy_data_dir.sh" --utt-suffix x --spk-prefix z data/train data/copy
  [ "$status" -eq 0 ]
}

@test "split: once, then up to date; more parts than speakers says what to do" {
  run "$ROOT/steps/split_data.sh" data/train 3
  [ "$status" -eq 0 ]
  [ -s data/train/split3/3/wav.scp ]
  before=$(files data)
  run "$ROOT/steps/split_data.sh" data/train 3
  has 'up to date'
  [ "$before" = "$(files data)" ]
  run "$ROOT/steps/split_data.sh" data/train 4
  [ "$status" -eq 1 ]
  has 'use --per-utt'
  run "$ROOT/steps/split_data.sh" --per-utt data/train 4
  [ "$status" -eq 0 ]
  [ -s data/train/split4utt/4/wav.scp ]
}

@test "bad input is a message with its place, never a traceback" {
  run "$ROOT/steps/data_info.sh" data/none
  [ "$status" -eq 1 ]
  has 'data_info: error: data/none: no such data directory'
  lacks Traceback
  printf '\xff\n' >>data/train/text
  run "$ROOT/steps/subset_data_dir.sh" data/train 2 data/some
  [ "$status" -eq 1 ]
  has 'data/train/text:5: utf8: '
  lacks Traceback
}
