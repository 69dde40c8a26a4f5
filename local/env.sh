#!/usr/bin/env bash
# Usage: local/env.sh make <stamp> | check <python>
# Makes the Python environment .venv of this repository from the pinned requirements, or checks one.
# Called by path.sh. A second caller waits for the first; a killed one is taken up where it stopped.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
venv="$root/.venv"
log="$venv/setup.log"
env_gb=7     # the finished environment and its log (about 7.0 GB; torch's default wheels carry CUDA)
scratch_gb=2 # downloads that wait for being unpacked

say() { printf '%s\n' "$*" >&2; }
fail() {
  say "path.sh: error: $*"
  exit 1
}

# python_is_new_enough <python>: prints its version, fails when it is below 3.11 or does not run.
python_is_new_enough() {
  "$1" -I -S -c 'import sys
print("%d.%d.%d" % sys.version_info[:3])
sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
  local name found version seen=
  for name in python3 python3.11 python3.12 python3.13 python3.14 python; do
    found=$(command -v "$name") || continue
    if version=$(python_is_new_enough "$found"); then
      printf '%s\n' "$found"
      return 0
    fi
    seen+="${seen:+, }$name is ${version:-not usable}"
  done
  fail "Python >= 3.11 is needed (${seen:-none on PATH}): install one, put it on PATH, or set" \
    "TRIVIUM_PYTHON to the python of an environment that has the packages of constraints.txt"
}

check() {
  local python=$1 version
  command -v "$python" >/dev/null ||
    fail "TRIVIUM_PYTHON=$python is not a program: give the path of a Python >= 3.11, or unset it"
  version=$(python_is_new_enough "$python") ||
    fail "TRIVIUM_PYTHON=$python is Python ${version:-that does not start}, at least 3.11 is" \
      "needed: point it to a newer one, or unset it to have .venv made here"
}

need_space() {
  local have_kb used_kb=0 need_kb
  have_kb=$(df -Pk "$root" | awk 'NR == 2 { print $4 }')
  [ ! -d "$venv" ] || used_kb=$(du -sk "$venv" | cut -f1)
  need_kb=$(((env_gb + scratch_gb) * 1024 * 1024 - used_kb))
  ((have_kb >= need_kb)) ||
    fail "$root has $((have_kb / 1024)) MB free, the environment needs $((need_kb / 1024)) MB while" \
      "it is made: free some space, or set TRIVIUM_PYTHON to an environment elsewhere"
}

# heartbeat <pid>: one line every ten seconds while the installer lives.
heartbeat() {
  local start=$SECONDS
  while kill -0 "$1" 2>/dev/null; do
    sleep 1
    (((SECONDS - start) % 10 == 9)) || continue
    say "path.sh: $(du -sm "$venv" 2>/dev/null | cut -f1) MB of about 7100 MB," \
      "$((SECONDS - start)) s"
  done
}

run_pip() {
  local rc=0 pid
  "$venv/bin/python" -m pip "$@" --disable-pip-version-check --no-input >>"$log" 2>&1 </dev/null &
  pid=$!
  trap 'kill "$pid" 2>/dev/null; exit 130' INT TERM
  heartbeat "$pid"
  wait "$pid" || rc=$?
  trap - INT TERM
  [ "$rc" -ne 0 ] || return 0
  tail -n 15 "$log" >&2
  if grep -qE 'No space left|Errno 28' "$log"; then
    fail "the disk filled up while packages were installed: free $((env_gb + scratch_gb)) GB and" \
      "run the same command again"
  elif grep -qE 'NewConnectionError|Temporary failure|ConnectTimeout|Network is unreachable|Name or service not known|ProxyError|Could not fetch URL' "$log"; then
    fail "no package index could be reached (network needed for this one step): connect and run" \
      "the same command again, it goes on where it stopped; or set TRIVIUM_PYTHON"
  fi
  fail "pip ended with code $rc (all of its output: $log): run the same command again, it goes on" \
    "where it stopped"
}

make() {
  local stamp=$1 python start=$SECONDS broken requirements="$venv/requirements.txt"
  local bare="$venv/bare.txt" # what is installed without its own requirements
  exec 9>"$root/.venv.lock"
  if ! flock -n 9; then
    say "path.sh: another process is making $venv: waiting for it"
    flock 9
  fi
  if [ -r "$venv/.stamp" ] && [ "$(<"$venv/.stamp")" = "$stamp" ]; then
    return 0
  fi
  python=$(find_python)
  need_space
  if [ -d "$venv" ]; then
    say "path.sh: bringing the environment in $venv up to date"
  else
    say "path.sh: making the Python environment in $venv (once; about 7 GB on disk, half of that to" \
      "download; 1 to 15 minutes)"
  fi
  rm -f "$venv/.stamp" "$log"
  # A venv that was killed while it was made has no working pip: begin it again.
  "$venv/bin/python" -m pip --version >/dev/null 2>&1 || "$python" -m venv --clear "$venv" ||
    fail "$python -m venv failed: install the venv module of that Python"
  rm -rf "$venv/tmp"
  mkdir -p "$venv/tmp"
  export TMPDIR="$venv/tmp" # /tmp may be small; here the space was looked at
  # Packages that a killed installer left half on disk look installed to pip: put those in again.
  broken=$("$venv/bin/python" -I "$root/local/check_env.py" broken)
  "$venv/bin/python" -I "$root/local/check_env.py" requirements "$root/pyproject.toml" >"$requirements"
  # The pip that Python 3.11 brings looks at every file of every version for a minute; a later one: 18 s.
  run_pip install --no-compile -c "$root/constraints.txt" pip
  # Of 7 GB a run imports the least: byte code is left to Python's first import.
  run_pip install --no-compile -r "$requirements" -c "$root/constraints.txt"
  "$venv/bin/python" -I "$root/local/check_env.py" bare "$root/pyproject.toml" >"$bare"
  [ ! -s "$bare" ] || run_pip install --no-compile --no-deps -r "$bare" -c "$root/constraints.txt"
  if [ -n "$broken" ]; then
    say "path.sh: putting in again what was left half done: $broken"
    local -a names
    read -ra names <<<"$broken"
    run_pip install --force-reinstall --no-deps -c "$root/constraints.txt" "${names[@]}"
  fi
  "$venv/bin/python" -I "$root/local/check_env.py" versions "$root/pyproject.toml" \
    "$root/constraints.txt" || fail "the environment is not what constraints.txt asks for"
  rm -rf "$venv/tmp"
  printf '%s' "$stamp" >"$venv/.stamp.new"
  mv "$venv/.stamp.new" "$venv/.stamp"
  say "path.sh: environment ready after $((SECONDS - start)) s"
}

case ${1:-} in
  make) make "$2" ;;
  check) check "$2" ;;
  *)
    sed -n '2,4s/^# //p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
