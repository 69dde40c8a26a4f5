#!/usr/bin/env bats
# .ci/run: the README's own test command, in a clean clone of what is committed.

load helper

setup() {
  scratch
  git init -q repo
  cd repo
  git config user.email test@example.org
  git config user.name test
  mkdir .ci tests
  cp "$ROOT/.ci/run" .ci/run
  printf '%s\n' '# X' '```' 'bash tests/run.sh' '```' 'Run `bash tests/run.sh --fast` too.' >README.md
  echo 'ignored' >.gitignore
  echo 'echo "ran in $PWD"; touch ignored; echo "3 passed, 0 failed"' >tests/run.sh
  git add -A
  git commit -qm first
}

@test "runs the command of the README in a clone, and passes its output and code on" {
  echo 'echo not committed' >tests/run.sh
  run bash .ci/run
  [ "$status" -eq 0 ]
  has '.ci/run: bash tests/run.sh'
  has '3 passed, 0 failed'
  lacks 'not committed'
  lacks "ran in $PWD"
  echo 'echo "2 passed, 1 failed"; exit 1' >tests/run.sh
  git commit -qam second
  run bash .ci/run
  [ "$status" -eq 1 ]
  has '2 passed, 1 failed'
}

@test "leaves no clone behind" {
  mkdir tmp
  TMPDIR=$PWD/tmp run bash .ci/run
  [ "$status" -eq 0 ]
  [ -z "$(ls tmp)" ]
}

@test "fails when the README does not tell the command, or tests leave files" {
  echo 'touch left-over' >>tests/run.sh
  git commit -qam second
  run bash .ci/run
  [ "$status" -eq 1 ]
  has '?? left-over'
  echo '# X' >README.md
  git commit -qam third
  run bash .ci/run
  [ "$status" -eq 1 ]
  has "README.md should tell the test command"
}
