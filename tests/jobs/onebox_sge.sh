#!/usr/bin/env bash
# Usage: tests/jobs/onebox_sge.sh <directory> <command>...
# Runs a command before a real Grid Engine on this one machine, and takes it down again. Needs root and
# Debian's packages gridengine-master, gridengine-exec and gridengine-client (it installs nothing).
# One host, four slots in all.q, parallel environment smp; unlike elsewhere root may submit, and a new
# job starts within a second. All state is in the directory; what an earlier cell left there is wiped.
set -euo pipefail

[ $# -ge 2 ] || { sed -n '2,6s/^# //p' "$0" >&2 && exit 2; }
share=/usr/share/gridengine lib=/usr/lib/gridengine
for program in sge_qmaster sge_execd qsub; do
  [ -x "$lib/$program" ] || {
    echo "$0: no $lib/$program: apt-get install gridengine-master gridengine-exec gridengine-client" >&2
    exit 3
  }
done
[ "$(id -u)" -eq 0 ] || {
  echo "$0: not root: the execution daemon of Grid Engine runs as root" >&2
  exit 3
}
mkdir -p "$1"
folder=$(cd "$1" && pwd -P)
shift

free_port() { # free_port <first>: the first port from there on at which nobody listens
  local port=$1
  while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 2)); done
  echo "$port"
}

export SGE_ROOT=$folder/root SGE_CELL=default SGE_ND=1
SGE_QMASTER_PORT=$(free_port 16444)
SGE_EXECD_PORT=$((SGE_QMASTER_PORT + 1))
export SGE_QMASTER_PORT SGE_EXECD_PORT
host=$(hostname)
ready=false master='' execd='' child=''

# wait_for <seconds> <command>...: until it succeeds; fails when it never did.
wait_for() {
  local tries=$(($1 * 5))
  shift
  while ((tries-- > 0)); do
    ! "$@" >/dev/null 2>&1 || return 0
    sleep 0.2
  done
  return 1
}

no_jobs() { [ -z "$(qstat -u '*')" ]; }

stop() {
  local file
  trap '' INT TERM
  [ -z "$child" ] || kill "$child" 2>/dev/null || true
  if [ "$ready" = true ]; then
    if ! no_jobs; then
      timeout 10 qdel -f -u '*' >/dev/null 2>&1 || true
      wait_for 10 no_jobs || true
    fi
  else
    echo "$0: Grid Engine did not come up; its words:" >&2
    tail -n 20 "$folder"/*.log "$folder"/spool/{qmaster,execd/*}/messages >&2 || true
  fi
  # Asked by TERM, they take ten seconds; nothing of theirs is kept.
  [ -z "$execd" ] || kill -KILL "$execd" 2>/dev/null || true
  [ -z "$master" ] || kill -KILL "$master" 2>/dev/null || true
  wait 2>/dev/null || true
  # What a job left: the process ids of its shepherd and of its own are kept there.
  for file in "$folder"/spool/execd/*/active_jobs/*/{job_pid,pid}; do
    [ ! -s "$file" ] || kill -KILL "$(<"$file")" 2>/dev/null || true
  done
}

# The files of a fresh cell, as Debian's init_cluster makes them for a whole machine.
make_cell() {
  local common=$SGE_ROOT/default/common
  rm -rf "$SGE_ROOT" "$folder/spool" "$folder/tmp"
  mkdir -p "$common" "$folder"/spool/{db,qmaster/job_scripts,execd} "$folder/tmp"
  ln -s "$share/util" /var/lib/gridengine/{bin,lib,utilbin} "$SGE_ROOT/"
  echo "$host" >"$common/act_qmaster"
  echo "localhost $host" >"$common/host_aliases" # daemons that call themselves differently do not talk
  sed -e "s#/var/spool/gridengine/spooldb#$folder/spool/db#; s#/var/spool/gridengine#$folder/spool#" \
    -e 's/^\(admin_user\) .*/\1 root/' "$share/default-bootstrap" >"$common/bootstrap"
  sed -e "s#/var/spool/gridengine#$folder/spool#" -e 's/^\(load_report_time\) .*/\1 00:00:02/' \
    -e 's#^\(mailer\) .*#\1 /bin/true#; s/^\(min_[ug]id\) .*/\1 0/' \
    "$share/default-configuration" >"$folder/configuration"
  "$lib/spoolinit" berkeleydb libspoolb "$folder/spool/db" init
  "$lib/spooldefaults" configuration "$folder/configuration"
  "$lib/spooldefaults" complexes "$share/util/resources/centry"
  "$lib/spooldefaults" usersets "$share/util/resources/usersets"
  "$lib/spooldefaults" managers root
}

# The queue and the scheduler; qconf hands its template of a queue to an editor.
configure() {
  local name
  name=$(qconf -sh | head -n 1)
  wait_for 30 qconf -se "$name"
  qconf -as "$name"
  qconf -Ap "$share/util/resources/pe/smp"
  printf '%s\n' '#!/bin/sh' "sed -i 's/^hostlist .*/hostlist $name/; s/^slots .*/slots 4/
    s/^load_thresholds .*/load_thresholds NONE/; s/^pe_list .*/pe_list smp/
    s#^tmpdir .*#tmpdir $folder/tmp#' \"\$1\"" >"$folder/editor"
  chmod a+x "$folder/editor"
  EDITOR=$folder/editor qconf -aq all.q
  qconf -ssconf | sed -e 's/^\(schedule_interval\) .*/\1 0:0:1/; s/^\(flush_[a-z]*_sec\) .*/\1 1/' \
    -e 's/^\(job_load_adjustments\) .*/\1 NONE/' >"$folder/scheduler"
  qconf -Msconf "$folder/scheduler"
}

trap stop EXIT
trap 'exit 130' INT TERM
make_cell >"$folder/setup.log" 2>&1
"$lib/sge_qmaster" >"$folder/qmaster.log" 2>&1 &
master=$!
wait_for 30 qconf -sh
"$lib/sge_execd" >"$folder/execd.log" 2>&1 &
execd=$!
configure >"$folder/queue.log" 2>&1
ready=true
qstat -f >&2
"$@" <&0 &
child=$!
rc=0
wait "$child" || rc=$?
child=''
(exit "$rc")
