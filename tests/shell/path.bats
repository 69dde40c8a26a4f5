#!/usr/bin/env bats
# path.sh: silent and quick when ready, a clear refusal when not, never an exit of the caller.

load helper

setup() {
  scratch
  # A repository of its own, so that no test makes an environment in this one.
  mkdir -p repo/local bin
  cp "$ROOT"/path.sh "$ROOT"/constraints.txt "$ROOT"/pyproject.toml repo/
  cp "$ROOT"/local/env.sh "$ROOT"/local/check_env.py repo/local/
  unset TRIVIUM_PYTHON_CHECKED
}

# fake_python <name> <version> <code>: a python that tells this version, and whether it is too old.
fake_python() {
  printf '#!/bin/sh\necho %s\nexit %s\n' "$2" "$3" >"bin/$1"
  chmod +x "bin/$1"
}

@test "sourced again and again it is silent and changes nothing" {
  run bash -c '. repo/path.sh; a="$PATH $PYTHONPATH"; . repo/path.sh; . repo/path.sh
    [ "$a" = "$PATH $PYTHONPATH" ] && echo same $- $LC_ALL $PYTHONUTF8 $PYTHONUNBUFFERED'
  [ "$status" -eq 0 ]
  has 'same'
  has 'C 1 1'
  [ "${#lines[@]}" -eq 1 ]
}

@test "sourcing it costs less than 0.2 s when ready" {
  # shellcheck disable=SC2016
  processor_ms bash -c 'set -euo pipefail; . repo/path.sh'
  [ "$took" -lt 200 ]
}

@test "the caller's OMP_NUM_THREADS stays, else it is 1" {
  run env -u OMP_NUM_THREADS bash -c '. repo/path.sh; echo $OMP_NUM_THREADS'
  [ "$output" = 1 ]
  OMP_NUM_THREADS=3 run bash -c '. repo/path.sh; echo $OMP_NUM_THREADS'
  [ "$output" = 3 ]
}

@test "byte code is written in our environment, as the user likes it in one of his own" {
  export PYTHONDONTWRITEBYTECODE=1
  # shellcheck disable=SC2016
  run bash -c '. repo/path.sh; echo "${PYTHONDONTWRITEBYTECODE:-unset}"'
  [ "$output" = 1 ]
  mkdir repo/.venv
  cat repo/constraints.txt repo/pyproject.toml | cksum | tr -d '\n' >repo/.venv/.stamp
  # shellcheck disable=SC2016
  run env -u TRIVIUM_PYTHON bash -c '. repo/path.sh; echo "${PYTHONDONTWRITEBYTECODE:-unset}"'
  [ "$output" = unset ]
}

@test "a TRIVIUM_PYTHON that is too old is refused, the shell that sourced it lives on" {
  fake_python old 3.9.2 1
  TRIVIUM_PYTHON=$PWD/bin/old run bash -c '. repo/path.sh; echo "code $?"'
  [ "$status" -eq 0 ]
  has 'is Python 3.9.2, at least 3.11 is needed'
  has 'code 1'
  TRIVIUM_PYTHON=/no/such/python run bash -c '. repo/path.sh; echo "code $?"'
  has 'TRIVIUM_PYTHON=/no/such/python is not a program'
  has 'code 1'
}

@test "no Python that is new enough: the refusal lists what was found" {
  for name in python3 python3.11 python3.12 python3.13 python3.14 python; do
    fake_python "$name" 3.8.1 1
  done
  run env -u TRIVIUM_PYTHON PATH="$PWD/bin:/usr/bin:/bin" bash -c '. repo/path.sh; echo "code $?"'
  has 'Python >= 3.11 is needed'
  has 'python3 is 3.8.1'
  has 'code 1'
  [ ! -e repo/.venv ]
}

@test "a disk that is too small is refused before anything is made" {
  printf '#!/bin/sh\necho "F 1k U A C M"; echo "/dev/x 9 9 1000000 9 /"\n' >bin/df
  chmod +x bin/df
  fake_python python3 3.12.0 0
  run env -u TRIVIUM_PYTHON PATH="$PWD/bin:/usr/bin:/bin" bash -c '. repo/path.sh; echo "code $?"'
  has '976 MB free'
  has 'code 1'
  [ ! -e repo/.venv ]
}

@test "--help and --list-stages do not make an environment" {
  cp "$ROOT/local/parse_options.sh" repo/local/
  script 'nj=4 # jobs'
  sed -i "s|^\. '.*|. repo/path.sh|" t.sh
  run env -u TRIVIUM_PYTHON bash t.sh --help
  [ "$status" -eq 0 ]
  has 'Usage:'
  [ ! -e repo/.venv ]
}

@test "one environment is made by one process; the other waits and makes none" {
  # A python3 that makes a venv of fakes: what pip would do is counted.
  cat >bin/python3 <<'P'
#!/bin/sh
case "$*" in
  *version_info*) echo 3.12.0 ;;
  *"pip --version"*) [ -e "$(dirname "$0")/../bin/python" ] ;;
  *"pip install"*) echo x >>"$COUNT"; sleep 1 ;;
  *venv*)
    for last; do :; done
    mkdir -p "$last/bin"; cp "$0" "$last/bin/python" ;;
esac
P
  chmod +x bin/python3
  # shellcheck disable=SC2016
  go='. repo/path.sh && echo "ready $TRIVIUM_PYTHON"'
  export COUNT=$PWD/count
  env -u TRIVIUM_PYTHON PATH="$PWD/bin:/usr/bin:/bin" bash -c "$go" >one 2>&1 &
  eventually 60 test -e repo/.venv
  run env -u TRIVIUM_PYTHON PATH="$PWD/bin:/usr/bin:/bin" bash -c "$go"
  wait
  has 'another process is making'
  has "ready $PWD/repo/.venv/bin/python"
  grep -q 'about 7 GB' one
  grep -q 'environment ready' one
  [ "$(wc -l <count)" -eq 2 ] # pip itself, then the packages
  # Changed pins: once more, silently ready after that.
  echo '# changed' >>repo/constraints.txt
  run env -u TRIVIUM_PYTHON PATH="$PWD/bin:/usr/bin:/bin" bash -c "$go"
  has 'bringing the environment'
  run env -u TRIVIUM_PYTHON PATH="$PWD/bin:/usr/bin:/bin" bash -c "$go"
  [ "$output" = "ready $PWD/repo/.venv/bin/python" ]
}

@test "pip without a network: the refusal says so, the next try goes on" {
  cat >bin/python3 <<'P'
#!/bin/sh
case "$*" in
  *version_info*) echo 3.12.0 ;;
  *"pip install"*)
    [ -e "$COUNT" ] && exit 0
    touch "$COUNT"
    echo "WARNING: Retrying after NewConnectionError: Temporary failure in name resolution"; exit 1 ;;
  *venv*)
    for last; do :; done
    mkdir -p "$last/bin"; cp "$0" "$last/bin/python" ;;
esac
P
  chmod +x bin/python3
  export COUNT=$PWD/count
  run env -u TRIVIUM_PYTHON PATH="$PWD/bin:/usr/bin:/bin" bash -c '. repo/path.sh; echo "code $?"'
  has 'no package index could be reached'
  has 'code 1'
  run env -u TRIVIUM_PYTHON PATH="$PWD/bin:/usr/bin:/bin" bash -c '. repo/path.sh; echo "code $?"'
  has 'environment ready'
  has 'code 0'
}
