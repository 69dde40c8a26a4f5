#!/usr/bin/env bats
# The stage guard of local/lib.sh, on the smallest recipe (fixtures/recipe).

load helper

setup() {
  scratch
  cp -R "$BATS_TEST_DIRNAME/fixtures/recipe/." .
  seq 20 >words.txt
}

@test "run twice: the second time everything is up to date and nothing is touched" {
  run ./run.sh
  [ "$status" -eq 0 ]
  has 'stage 1 (table): not run yet'
  has 'done: 3 of 3 stages run'
  before=$(find exp -type f ! -name "*.lock" -printf '%p %T@ %s\n' | sort)
  run ./run.sh
  [ "$status" -eq 0 ]
  has 'everything is up to date (3 stages)'
  [ "$before" = "$(find exp -type f ! -name "*.lock" -printf '%p %T@ %s\n' | sort)" ]
}

@test "log lines carry time, file, line and function" {
  run ./run.sh
  [[ $output =~ [0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}[+-][0-9]{4}\ \(count.sh:[0-9]+:main\)\ counting ]]
}

@test "changed content of an input runs what depends on it, a changed time does not" {
  ./run.sh
  touch words.txt
  run ./run.sh
  has 'everything is up to date'
  echo 3 >words.txt
  run ./run.sh
  has 'stage 1 (table): input words.txt changed'
  has 'stage 5 (clusters): input exp/table changed'
  run ./run.sh
  has 'everything is up to date'
}

@test "an output that is gone or was changed is made again" {
  ./run.sh
  rm exp/clusters_test/test
  run ./run.sh
  has 'stage 5 (clusters): output exp/clusters_test/test is gone'
  has 'done: 1 of 3'
  echo broken >exp/table
  run ./run.sh
  has 'stage 1 (table): output exp/table changed'
  rm -r exp/clusters_dev
  run ./run.sh
  has 'exp/clusters_dev is missing'
}

@test "changed code of a step runs that step" {
  ./run.sh
  sed -i 's/counting/counting words/' local/count.sh
  run ./run.sh
  has 'stage 1 (table): code changed: local/count.sh'
  has 'done: 1 of 3' # the table is the same as before
}

@test "another configuration is refused in one line, and made with --force or --stage" {
  ./run.sh
  before=$(cat exp/clusters_dev/dev)
  run --separate-stderr ./run.sh --clusters 5
  [ "$status" -eq 1 ]
  [ "$stderr" = 'stage 5 (clusters) was made with clusters=100, now 5: rerun with --stage 5, or --force true' ]
  [ "$before" = "$(cat exp/clusters_dev/dev)" ]
  run ./run.sh --clusters 5 --force true
  [ "$status" -eq 0 ]
  has 'stage 5 (clusters): made with clusters=100, now 5'
  [ "$(wc -l <exp/clusters_dev/dev)" -eq 5 ]
  run ./run.sh --clusters 6 --stage clusters
  [ "$status" -eq 0 ]
  [ "$(wc -l <exp/clusters_test/test)" -eq 6 ]
  run ./run.sh --clusters 6
  has 'everything is up to date'
}

@test "how a stage is run is no configuration" {
  ./run.sh --nj 2
  run ./run.sh --nj 7
  has 'everything is up to date'
}

@test "--stage by number or name runs from there whatever the ledger says, --stop-stage ends" {
  ./run.sh
  run ./run.sh --stage 5
  has 'stage 5 (clusters): asked for by --stage'
  lacks 'stage 1'
  run ./run.sh --stage table --stop-stage 1
  has 'stage 1 (table): asked for by --stage'
  lacks 'stage 5'
}

@test "--stage without what it needs says so" {
  run ./run.sh --stage 5
  [ "$status" -eq 1 ]
  has 'stage 5 (clusters) needs exp/table, which is not there'
}

@test "--list-stages, --dry-run and --status make nothing" {
  run ./run.sh --list-stages
  [ "$status" -eq 0 ]
  [ "$output" = $'  1 table          Make the table\n  5 clusters       Cluster it' ]
  run ./run.sh --dry-run
  [ "$status" -eq 0 ]
  has 'local/count.sh --nj 2 --pause 0 words.txt exp/table'
  has '    cluster exp/table into 100' # what the step says of itself
  run ./run.sh --status
  [ "$status" -eq 0 ]
  has '1 table          exp/table: not run yet'
  [ ! -e exp ]
}

@test "--status tells done, out of date, failed" {
  ./run.sh --clusters 7
  run ./run.sh --clusters 7 --status
  has 'exp/table: done 20'
  echo 1 >words.txt
  run ./run.sh --status
  has 'exp/table: out of date: input words.txt changed'
  has 'exp/clusters_dev: out of date: made with clusters=7, now 100'
  run ./run.sh --clusters 5000 --force true
  [ "$status" -eq 1 ]
  run ./run.sh --clusters 5000 --status
  has 'exp/clusters_dev: failed with code 1'
}

@test "a failing step stops the recipe with its stage, cause and command" {
  run ./run.sh --clusters 5000
  [ "$status" -eq 1 ]
  has '(cluster.sh:17:main) error: --clusters 5000: at most 1000'
  has 'stage 5 (clusters) failed with code 1: local/cluster.sh --clusters 5000 --set dev'
  lacks 'exp/clusters_test'
  run ./run.sh
  [ "$status" -eq 0 ]
  has 'stage 1 (table): up to date'
}

@test "killed with -9 in a stage: nothing looks finished, the next run makes the same bytes" {
  ./run.sh
  cp exp/table wanted
  rm -r exp
  ./run.sh --pause 88 &
  pid=$!
  eventually 60 test -e exp/table.new
  read -ra tree < <("$TRIVIUM_PYTHON" -S -m pylib.jobs.processes "$pid")
  kill -9 "${tree[@]}"
  wait "$pid" || true
  [ ! -e exp/table ]
  eventually 60 flock -n exp/.stages/exp+table.lock true
  run ./run.sh --status
  has 'exp/table: was killed before it ended'
  run ./run.sh
  [ "$status" -eq 0 ]
  has 'stage 1 (table): it was begun and not finished'
  cmp exp/table wanted
}

@test "a second run in the same directory is refused and names the first" {
  # The first goes on when it is told to: a step with a pause waits for the file `go`.
  sed -i 's/^sleep .*/[ "$pause" = 0 ] || for _ in {1..900}; do [ ! -e go ] || break; sleep 0.1; done/' local/count.sh
  ./run.sh --pause 1 >first.log 2>&1 &
  pid=$!
  eventually 60 test -e exp/table.new
  run ./run.sh
  [ "$status" -eq 1 ]
  has "another run is at work in exp (process $pid on"
  run ./run.sh --status
  has "running as process $pid"
  run ./run.sh --exp exp2
  [ "$status" -eq 0 ]
  [ ! -e exp/table ] # all that was beside the first
  touch go
  wait "$pid"
}

@test "TERM to the recipe ends the step and all it started" {
  ./run.sh --pause 77 >first.log 2>&1 &
  pid=$!
  eventually 60 running '^sleep 77'
  ends_with 143 TERM "$pid"
  not_running '^sleep 77'
}

@test "TERM to the recipe comes to a job once, and its checkpoint is waited for" {
  cat >local/count.sh <<'J'
#!/usr/bin/env bash
"$TRIVIUM_ROOT/local/run.sh" exp/count.log bash -c '
trap "trap \"exit 1\" TERM; sleep 2; touch checkpoint; exit 75" TERM
sleep 78 & wait'
J
  ./run.sh >first.log 2>&1 &
  pid=$!
  eventually 60 running '^sleep 78'
  ends_with 143 TERM "$pid"
  [ -e checkpoint ]
  grep -q '^# Ended (code 75)' exp/count.log
}

@test "a zombie that nobody reaps is not waited for" {
  bash -c 'sleep 0 & echo $! >zombie; exec sleep 79' 3>&- &
  pid=$!
  eventually 60 test -s zombie
  # shellcheck disable=SC2016
  in_lib() { bash -c '. "$TRIVIUM_FIXTURE_ROOT/path.sh"; . "$TRIVIUM_FIXTURE_ROOT/local/lib.sh"; _lib_lives "$1" || exit 3' - "$1"; }
  eventually 60 grep -q '^State:.Z' "/proc/$(<zombie)/status"
  run in_lib "$(<zombie)"
  [ "$status" -eq 3 ]
  run in_lib "$pid"
  [ "$status" -eq 0 ]
  kill "$pid"
}

@test "code 75 means: stopped after a checkpoint" {
  sed -i 's/^sleep .*/[ -e second ] || { touch second; exit 75; }/' local/count.sh
  run ./run.sh
  [ "$status" -eq 75 ]
  has 'stopped after a checkpoint'
  run ./run.sh
  [ "$status" -eq 0 ]
  has 'its last run stopped after a checkpoint with code 75'
}

@test "a stage that does not make its output is told" {
  sed -i 's/^mv .*/rm "$2.new"/' local/count.sh
  run ./run.sh
  [ "$status" -eq 1 ]
  has 'stage 1 (table) ended without an error but did not make exp/table'
}

@test "an error outside stages names file, line and command" {
  sed -i 's/^recipe_begin/recipe_begin\ncat nowhere/' run.sh
  run ./run.sh
  [ "$status" -eq 1 ]
  has 'error: code 1 from: cat nowhere'
  [[ $output =~ \(run.sh:[0-9]+:main\) ]]
}

@test "thirteen up-to-date stages are told in less than five seconds" {
  {
    sed -n '1,/^recipe_begin/p' run.sh
    for n in {1..13}; do
      echo "stage $n table --in words.txt --out exp/table$n -- local/count.sh words.txt exp/table$n"
    done
    echo recipe_end
  } >many.sh
  chmod +x many.sh
  ./many.sh
  processor_ms bash -c './many.sh >many.log'
  [ "$took" -lt 5000 ]
  grep -q 'everything is up to date (13 stages)' many.log
}

@test "two systems side by side in one directory share what is up to date" {
  ./run.sh
  sed 's/clusters_\$set/other_$set/g' run.sh >other.sh
  chmod +x other.sh
  for script in run other run; do
    "./$script.sh" >"$script.log" 2>&1 &
  done
  failed=0
  for pid in $(jobs -p); do
    wait "$pid" || failed=1
  done
  cat ./*.log
  [ "$failed" -eq 0 ]
  run ./other.sh
  has 'everything is up to date'
}
