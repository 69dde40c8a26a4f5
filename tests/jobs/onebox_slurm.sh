#!/usr/bin/env bash
# Usage: tests/jobs/onebox_slurm.sh <directory> <command>...
# Runs a command before a real Slurm of two nodes on this one machine, and takes it down again. Needs
# root and Debian's packages slurm-wlm, slurm-wlm-basic-plugins and munge (it installs nothing).
# Nodes: n1 and n2, all processors each; partition shared; jobs may be requeued, and start again
# after 10 s (cred_expire; a site's default is 120).
set -euo pipefail

[ $# -ge 2 ] || { sed -n '2,6s/^# //p' "$0" >&2 && exit 2; }
for program in slurmctld slurmd munged sbatch; do
  command -v "$program" >/dev/null || PATH=$PATH:/usr/sbin command -v "$program" >/dev/null || {
    echo "$0: no $program: apt-get install slurm-wlm slurm-wlm-basic-plugins munge" >&2
    exit 3
  }
done
PATH=$PATH:/usr/sbin
mkdir -p "$1/state"
folder=$(cd "$1" && pwd -P)
shift
export SLURM_CONF=$folder/slurm.conf
host=$(hostname -s)
cores=$(nproc --all) # nproc alone obeys OMP_NUM_THREADS, and tests run with 1
pids=()
spool=$(mktemp -d /tmp/slurmd.XXXXXX) # of sockets, whose whole path must be short (108 bytes)
stop() {
  local i
  for ((i = ${#pids[@]} - 1; i >= 0; i--)); do kill "${pids[i]}" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$spool"
}
trap stop EXIT
trap 'exit 130' INT TERM

install -d -o munge -g munge -m 0755 /run/munge
if ! munge -n 2>/dev/null | unmunge >/dev/null 2>&1; then
  runuser -u munge -- /usr/sbin/munged --foreground >"$folder/munged.log" 2>&1 &
  pids+=($!)
fi
for ((i = 0; i < 100; i++)); do
  ! munge -n 2>/dev/null | unmunge >/dev/null 2>&1 || break
  sleep 0.1
done
node="NodeHostname=$host NodeAddr=127.0.0.1 CPUs=$cores RealMemory=8000 State=UNKNOWN"
printf '%s\n' \
  ClusterName=onebox "SlurmctldHost=$host(127.0.0.1)" SlurmUser=root SlurmdUser=root AuthType=auth/munge \
  AuthInfo=cred_expire=10 MpiDefault=none ProctrackType=proctrack/linuxproc TaskPlugin=task/none \
  JobAcctGatherType=jobacct_gather/none SelectType=select/cons_tres SelectTypeParameters=CR_Core \
  SchedulerType=sched/backfill AccountingStorageType=accounting_storage/none ReturnToService=2 \
  MinJobAge=30 KillWait=5 SlurmctldPort=16817 "StateSaveLocation=$folder/state" \
  "SlurmdSpoolDir=$spool/%n" SlurmdParameters=config_overrides \
  "SlurmctldPidFile=$folder/ctld.pid" "SlurmdPidFile=$folder/slurmd.%n.pid" \
  "NodeName=n1 $node Port=17001" "NodeName=n2 $node Port=17002" \
  'PartitionName=shared Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP' >"$SLURM_CONF"
slurmctld -D -c -f "$SLURM_CONF" >"$folder/ctld.log" 2>&1 &
pids+=($!)
sleep 2
for name in n1 n2; do
  slurmd -D -N "$name" -f "$SLURM_CONF" >"$folder/$name.log" 2>&1 &
  pids+=($!)
done
for ((i = 0; i < 200; i++)); do
  [ "$(sinfo -h -N -t idle -o %N 2>/dev/null | wc -l)" -ne 2 ] || break
  sleep 0.1
done
sinfo -N >&2
"$@"
