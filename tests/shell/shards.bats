#!/usr/bin/env bats
# local/shards.sh: the parts of a verb as jobs, then their merge; one job does all.

load helper

setup() {
  scratch
  printf '%s\n' '#!/usr/bin/env bash' 'echo "$*" >>said' '[ "${2:-}" != "${FAILS:-none}" ]' >verb
  chmod +x verb
}

run_shards() { # run_shards <nj>
  run bash -euo pipefail -c '. "$1/local/shards.sh"; nj=$2 cmd_words=("$1/local/run.sh")
    shards log/verb.JOB.log ./verb --x "a b" data' - "$ROOT" "$1"
}

@test "several jobs make the parts and the caller joins them" {
  run_shards 3
  [ "$status" -eq 0 ]
  [ "$(sort said)" = $'--x a b data --merge 3\n--x a b data --shard 1/3\n--x a b data --shard 2/3\n--x a b data --shard 3/3' ]
  [ "$(tail -n 1 said)" = "--x a b data --merge 3" ]
  [ -f log/verb.3.log ]
}

@test "one job does all, in its log" {
  run_shards 1
  [ "$status" -eq 0 ]
  [ "$(cat said)" = "--x a b data" ]
  [ -f log/verb.1.log ]
}

@test "nothing is joined after a failure" {
  FAILS="a b" run_shards 2
  [ "$status" -ne 0 ]
  ! grep -q merge said
}
