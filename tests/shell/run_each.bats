#!/usr/bin/env bats
# local/run_each.sh: a recipe once for each system and seed (fixtures/runs).

load helper

setup() {
  scratch
  cp -R "$BATS_TEST_DIRNAME/fixtures/runs" r
  EACH="$ROOT/local/run_each.sh"
}

@test "each system and seed in one exp: what they share once, then the runs, the report of all" {
  run "$EACH" --systems "a c" --seeds "1 2" r/run.sh --exp exp/x --pause 1
  [ "$status" -eq 0 ]
  [ "$(cat r/exp/x/report)" = $'a 1\na 2\nc 1\nc 2' ]
  has 'stages 1 to 2, which all seeds of a share'
  has 'stages 1 to 2, which all seeds of c share'
  # The language model comes after the first training: one run makes it, the others wait.
  [ "$(cat r/exp/x/log/run_each.*.log | grep -c 'stage 4 (lm): not run yet')" -eq 1 ]
  [ "$(cat r/exp/x/log/run_each.*.log | grep -c 'stage 1 (data): up to date')" -eq 4 ]
  ! grep -q 'stage 5' r/exp/x/log/run_each.*.log
  run r/run.sh --exp exp/x --system c --seed 2 --pause 1
  has 'everything is up to date'
  run "$EACH" --systems "a c" --seeds "1 2" r/run.sh --exp exp/x --pause 1
  [ "$status" -eq 0 ]
  ! grep -q 'not run yet' r/exp/x/log/run_each.*.log
}

@test "runs that fail are named with the command to go on; --pick failed leaves the others alone" {
  mkdir -p r/exp
  touch r/exp/b_s2.broken
  run "$EACH" --max-jobs-run 3 --systems "a b" --seeds "1 2 3" r/run.sh --pause 0
  [ "$status" -eq 1 ]
  has '1 of 6 runs failed: b, seed 2 (r/exp/log/run_each.5.log)'
  has "run_each.sh --pick failed --cmd $ROOT/local/run.sh --systems 'a b' --seeds '1 2 3' --max-jobs-run 3 r/run.sh --pause 0"
  [ ! -e r/exp/report ]
  rm r/exp/b_s2.broken
  before=$(stat -c %y r/exp/log/run_each.1.log)
  run "$EACH" --pick failed --systems "a b" --seeds "1 2 3" r/run.sh --pause 0
  [ "$status" -eq 0 ]
  [ "$before" = "$(stat -c %y r/exp/log/run_each.1.log)" ]
  [ "$(wc -l <r/exp/report)" -eq 6 ]
}

@test "--dry-run prints every line and makes nothing; --job is one of them" {
  run "$EACH" --dry-run --cmd-backend slurm --cmd "local/run.sh --mem 1G" --systems "a b" --seeds "4 5" r/run.sh --exp "it's"
  [ "$status" -eq 0 ]
  has "bash r/run.sh --cmd-backend slurm --exp 'it'\\''s' --system a --seed 4 --stop-stage 2 --wait true"
  has "env CMD_BACKEND=slurm $ROOT/local/run.sh --mem 1G JOB=1:4 'r/it'\\''s/log/run_each.JOB.log' $ROOT/local/run_each.sh --job JOB --systems 'a b'"
  has "# JOB=3: b, seed 4"
  has "    bash r/run.sh --cmd-backend local --exp 'it'\\''s' --system b --seed 4 --stop-stage 4 --wait true"
  has "--stop-stage 5 --wait true --stage 5"
  [ ! -e "r/it's" ]
  run "$EACH" --job 3 --systems "a b" --seeds "4 5" r/run.sh --exp "it's"
  [ "$status" -eq 0 ]
  [ "$(cat "r/it's/b_s4")" = 'b 4' ]
  [ ! -e "r/it's/report" ]
}

@test "--stop-stage and --exp of the recipe count; without --systems it runs its own" {
  run "$EACH" --seeds "1 2" r/run.sh --exp="$PWD/out" --stop-stage train
  [ "$status" -eq 0 ]
  [ -e out/a_s2 ]
  [ -e out/log/run_each.2.log ]
  [ ! -e out/lm ]
  [ ! -e out/report ]
}

@test "what makes no sense is a usage error" {
  run "$EACH"
  [ "$status" -eq 2 ]
  run "$EACH" nowhere/run.sh
  [ "$status" -eq 2 ]
  has 'nowhere/run.sh: no such recipe'
  run "$EACH" r/run.sh --seed 3
  [ "$status" -eq 2 ]
  has '--seed: is said before the recipe, by --systems and --seeds'
  run "$EACH" --sedes 1 r/run.sh
  [ "$status" -eq 2 ]
  has 'did you mean --seeds?'
  run "$EACH" r/run.sh --bogus 1
  [ "$status" -eq 2 ]
  has 'unknown option --bogus'
  run "$EACH" --job 2 r/run.sh
  [ "$status" -eq 2 ]
  run "$EACH" --pick some r/run.sh
  [ "$status" -eq 2 ]
  [ ! -e r/exp/a_s1 ]
}

@test "TERM ends the runs and all they started; a second one in the exp is refused" {
  "$EACH" --seeds "1 2" r/run.sh --pause 66 >first.log 2>&1 &
  pid=$!
  eventually 60 running '^sleep 66'
  run "$EACH" --seeds 1 r/run.sh
  [ "$status" -eq 1 ]
  has 'another run_each.sh is at work in r/exp'
  ends_with 143 TERM "$pid"
  not_running '^sleep 66'
}

@test "a recipe waits with --wait where it stops without" {
  # The first is at work until there is a file `go`.
  sed -i 's/^sleep .*/touch begun; for _ in {1..900}; do [ ! -e go ] || break; sleep 0.1; done/' r/local/make.sh
  r/run.sh --stop-stage 1 >first.log 2>&1 &
  eventually 60 test -e r/begun
  r/run.sh --stop-stage 1 --wait >second.log 2>&1 &
  run r/run.sh --stop-stage 1
  [ "$status" -eq 1 ]
  has 'another run is at work in exp (process'
  eventually 60 grep -q 'stage 1 (data): waiting for another run' second.log
  touch r/go
  wait
  grep -q 'stage 1 (data): waiting for another run that makes exp/data (process' second.log
  grep -q 'everything is up to date' second.log
}
