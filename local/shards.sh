#!/usr/bin/env bash
# Sourced by steps whose verb takes --shard i/n and --merge n, and does both without them.

# shards <log> <verb and its words>...: $nj jobs make a part each, then the parts are joined here. One
# job does all of it: to join means to start torch again, as long as a small part takes.
shards() {
  local log=$1
  shift
  # shellcheck disable=SC2154 # the step's
  if [ "$nj" -eq 1 ]; then
    "${cmd_words[@]}" JOB=1:1 "$log" "$@"
    return
  fi
  "${cmd_words[@]}" JOB=1:"$nj" "$log" "$@" --shard "JOB/$nj"
  "$@" --merge "$nj"
}
