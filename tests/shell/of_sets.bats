#!/usr/bin/env bats
# of_sets: the words of a stage that makes one table of several data directories.

load helper

sets() { # sets <out> <data-dirs>...
  bash -c '. "$1/local/lib.sh"; shift; of_sets wav.scp "$1" exp/feats/mfcc "${@:2}"
    printf "%s\n" "${ins[*]}" "${outs[*]}" "${places[*]}"' - "$ROOT" "$@"
}

@test "inputs and places in order, outputs from the last set on" {
  run sets mfcc.scp data/train "data/dev"
  [ "$status" -eq 0 ]
  [ "${lines[0]}" = "data/train/wav.scp data/dev/wav.scp" ]
  [ "${lines[1]}" = "data/dev/mfcc.scp data/train/mfcc.scp" ]
  [ "${lines[2]}" = "data/train exp/feats/mfcc_train data/dev exp/feats/mfcc_dev" ]
}

@test "a set that joins makes another first output, by which a stage is known" {
  run sets mfcc.scp data/train data/dev data/test
  [ "${lines[1]}" = "data/test/mfcc.scp data/dev/mfcc.scp data/train/mfcc.scp" ]
  run sets labels.scp data/train
  [ "${lines[1]}" = "data/train/labels.scp" ]
}
