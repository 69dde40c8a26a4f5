#!/usr/bin/env bats
# local/run.sh: Kaldi's grammar, logs, failures, signals, --pick.

load helper

setup() {
  scratch
  RUN="$ROOT/local/run.sh"
}

@test "an array writes one log a job, with header and footer" {
  run "$RUN" JOB=1:3 log/x.JOB.log echo job JOB
  [ "$status" -eq 0 ]
  [ "$(sed -n 1p log/x.2.log)" = '# echo job 2' ]
  [[ $(sed -n 2p log/x.2.log) == '# Started at '* ]]
  [ "$(sed -n 3p log/x.2.log)" = '#' ]
  [ "$(sed -n 4p log/x.2.log)" = 'job 2' ]
  [[ $(sed -n 5p log/x.2.log) =~ ^'# Accounting: time='[0-9]+' threads=1'$ ]]
  [[ $(sed -n 6p log/x.2.log) =~ ^'# Ended (code 0) at '.*', elapsed time '[0-9]+' seconds'$ ]]
  [ ! -e log/q ]
}

@test "a failure within a pipe is a failure" {
  run "$RUN" log/x.log false \| cat
  [ "$status" -eq 1 ]
  grep -q '^# Ended (code 1)' log/x.log
  run "$RUN" log/y.log false \; echo went on
  [ "$status" -eq 1 ]
  ! grep -q '^went on' log/y.log
  run "$RUN" log/z.log echo '$unset'
  [ "$status" -eq 0 ]
}

@test "JOB is replaced only where no letter or digit touches it, never in the current directory" {
  mkdir JOB_dir
  cd JOB_dir
  "$RUN" JOB=2:2 log/x.JOB.log echo MYJOBNAME JOB1 x_JOB.scp split4/JOB JOB,JOB 'a JOB b' \; pwd
  grep -qFx 'MYJOBNAME JOB1 x_2.scp split4/2 2,2 a 2 b' log/x.2.log
  grep -q '/JOB_dir$' log/x.2.log
  "$RUN" n=1:2 log/x.n.log echo n JOB
  grep -qx '2 JOB' log/x.2.log
}

@test "words arrive as they are: dollars, quotes, semicolons, blanks, newlines" {
  local odd=$'it\'s "both" $HOME `x` a;b  c*\nnext'
  "$RUN" log/x.log printf '<%s>' "$odd" 'semi;colon' ''
  grep -qF '<it'"'"'s "both" $HOME `x` a;b  c*' log/x.log
  grep -qF 'next><semi;colon><>' log/x.log
}

@test "escaped operators work" {
  "$RUN" log/x.log printf 'b\na\n' \| sort \> sorted.txt \&\& echo done 2\>\&1
  [ "$(cat sorted.txt)" = $'a\nb' ]
  grep -qx done log/x.log
  "$RUN" log/y.log cat \< sorted.txt \; \( exit 3 \) \|\| echo saved
  grep -qx saved log/y.log
}

@test "a failure shows ids, last lines, a hint and the command to go on" {
  cat >job.sh <<'J'
for i in $(seq 30); do echo "line $i"; done
[ "$1" -ne 2 ] || { echo "ModuleNotFoundError: No module named 'torch'"; exit 1; }
[ "$1" -ne 4 ] || exit 7
J
  run "$RUN" JOB=1:4 log/x.JOB.log bash job.sh JOB
  [ "$status" -eq 1 ]
  has 'run.sh: 2 / 4 failed, log is in log/x.*.log'
  has 'failed: JOB 2 (code 1), 4 (code 7)'
  has '    line 30'
  lacks 'line 5'$'\n'
  has 'hint: a Python module is missing'
  has "run.sh --pick failed JOB=1:4 log/x.JOB.log bash job.sh JOB"
}

@test "a single job's failure says where its log is" {
  run "$RUN" log/x.log bash -c 'exit 3'
  [ "$status" -eq 1 ]
  has 'run.sh: job failed with code 3, log is in log/x.log'
  has '(no output)'
}

@test "a command that is not there, a job killed by a signal: the hint says so" {
  run "$RUN" log/x.log no-such-program
  has 'job failed with code 127'
  has 'hint: the command was not found'
  run "$RUN" log/y.log bash -c 'kill -9 $$'
  has 'job failed with code 137'
  has 'max-jobs-run'
  grep -q '^# Ended (code 137; signal 9) at' log/y.log
}

@test "--pick failed runs failed and unfinished jobs, --pick incomplete only unfinished ones" {
  cat >job.sh <<'J'
echo run >>ran.$1
[ "$1" -ne 2 ] || [ -e good ] || exit 1
J
  run "$RUN" JOB=1:3 log/x.JOB.log bash job.sh JOB
  [ "$status" -eq 1 ]
  sed -i '$d' log/x.3.log # as if the machine had gone down
  run "$RUN" --pick incomplete JOB=1:3 log/x.JOB.log bash job.sh JOB
  [ "$status" -eq 1 ] # the failed one still counts
  [ "$(cat ran.* | wc -l)" -eq 4 ]
  [ "$(wc -l <ran.3)" -eq 2 ]
  touch good
  run "$RUN" --pick failed JOB=1:3 log/x.JOB.log bash job.sh JOB
  [ "$status" -eq 0 ]
  [ "$(wc -l <ran.2)" -eq 2 ]
  [ "$(wc -l <ran.1)" -eq 1 ]
  # The log of another command says nothing about this one.
  run "$RUN" --pick failed JOB=1:3 log/x.JOB.log bash job.sh JOB again
  [ "$(wc -l <ran.1)" -eq 2 ]
}

@test "a job that prints a footer does not fool us" {
  run "$RUN" log/x.log bash -c 'echo "# Ended (code 0) at now, elapsed time 0 seconds"; exit 5'
  [ "$status" -eq 1 ]
  run "$RUN" --pick incomplete log/x.log bash -c 'echo "# Ended (code 0) at now, elapsed time 0 seconds"; exit 5'
  [ "$status" -eq 1 ]
  has 'job failed with code 5'
}

@test "--max-jobs-run limits what runs at once; nj is the number of shards" {
  cat >job.sh <<'J'
mkdir -p now; touch now/$1
for _ in {1..600}; do # until two have met, then long enough for a third to come
  [ ! -e now/1 ] || [ ! -e now/2 ] || touch met
  [ ! -e met ] || break
  sleep 0.1
done
sleep 0.2; ls now | wc -l; sleep 0.2; rm now/$1
J
  "$RUN" --max-jobs-run 2 JOB=1:6 log/x.JOB.log bash job.sh JOB
  [ "$(cat log/x.*.log | grep -x '[0-9]*' | sort -n | tail -n 1)" -eq 2 ]
}

@test "--num-threads sets OMP_NUM_THREADS, without it the caller's stays" {
  "$RUN" --num-threads 3 log/x.log bash -c 'echo threads $OMP_NUM_THREADS'
  grep -qx 'threads 3' log/x.log
  grep -q 'threads=3$' log/x.log
  OMP_NUM_THREADS=5 "$RUN" log/x.log bash -c 'echo threads $OMP_NUM_THREADS'
  grep -qx 'threads 5' log/x.log
}

@test "--time ends a job, --mem and --gpu refuse what the machine has not" {
  run "$RUN" --time 0:0:1 log/x.log sleep 50
  [ "$status" -eq 1 ]
  has 'the job ran into its --time limit'
  grep -q '^# Ended (code 124)' log/x.log
  run "$RUN" --mem 900T log/x.log true
  [ "$status" -eq 2 ]
  has '--mem 900T: a job needs more than'
  CUDA_VISIBLE_DEVICES='' run "$RUN" --gpu 1 log/x.log true
  [ "$status" -eq 2 ]
  has 'this machine has 0 GPUs'
  CUDA_VISIBLE_DEVICES=4,7 "$RUN" --gpu 1 JOB=1:2 log/g.JOB.log bash -c \
    'echo gpu $CUDA_VISIBLE_DEVICES; touch up.$1; for _ in {1..600}; do [ ! -e up.$((3 - $1)) ] || break; sleep 0.1; done' - JOB
  [ "$(cat log/g.*.log | grep '^gpu' | sort | xargs)" = 'gpu 4 gpu 7' ]
}

@test "TERM ends the jobs and what they started; footers say 130" {
  "$RUN" JOB=1:2 log/x.JOB.log bash -c 'sleep 71 & sleep 72' >out 2>&1 &
  pid=$!
  eventually 60 running '^sleep 72'
  ends_with 143 TERM "$pid"
  not_running '^sleep 7[12]'
  grep -q '^# Ended (code 130' log/x.1.log
}

@test "TERM to a job that writes a checkpoint and leaves with 75: it comes once, the footer says 75" {
  cat >job.sh <<'J'
trap 'trap "exit 1" TERM; sleep 2; touch checkpoint; exit 75' TERM
sleep 76 &
wait
J
  "$RUN" log/x.log bash job.sh >out 2>&1 &
  pid=$!
  eventually 60 running '^sleep 76'
  kill -TERM "$pid"
  wait "$pid" || true
  [ -e checkpoint ]
  grep -q '^# Ended (code 75)' log/x.log
  not_running '^sleep 76'
}

@test "INT likewise, with code 130" {
  "$TRIVIUM_PYTHON" -c 'import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])' "$RUN" JOB=1:2 log/x.JOB.log sleep 73 >out 2>&1 &
  pid=$!
  eventually 60 running '^sleep 73'
  ends_with 130 INT "$pid"
  not_running '^sleep 73'
}

@test "a job's background process does not outlive it" {
  "$RUN" log/x.log bash -c 'sleep 74 >/dev/null 2>&1 & echo started'
  not_running '^sleep 74'
}

@test "killed with -9, the front end takes its jobs along" {
  "$RUN" log/x.log sleep 75 >out 2>&1 &
  pid=$!
  eventually 60 running '^sleep 75'
  kill -9 "$pid"
  wait "$pid" || true
  eventually 60 not_running '^sleep 75'
  eventually 60 grep -q '^# Ended (code 130' log/x.log
}

@test "code 75 of all that did not succeed is passed on, without a report of failure" {
  run "$RUN" JOB=1:2 log/x.JOB.log bash -c '[ JOB -eq 1 ] || exit 75'
  [ "$status" -eq 75 ]
  has 'stopped after a checkpoint'
  lacks 'failed'
}

@test "mistakes on the command line exit 2 and say what was expected" {
  run "$RUN" JOB=1:2 log/x.log true
  [ "$status" -eq 2 ]
  has 'the log log/x.log must contain JOB'
  run "$RUN" JOB=3:2 log/x.JOB.log true
  [ "$status" -eq 2 ]
  run "$RUN" JOB=0:2 log/x.JOB.log true
  [ "$status" -eq 2 ]
  run "$RUN" --partition gpu log/x.log true
  [ "$status" -eq 2 ]
  has 'unknown option --partition'
  run "$RUN" log/x.log
  [ "$status" -eq 2 ]
  run "$RUN" --mem lots log/x.log true
  [ "$status" -eq 2 ]
  has 'expected memory of a job such as 500M or 2G'
  run "$RUN" --pick some log/x.log true
  [ "$status" -eq 2 ]
  has 'expected all or failed or incomplete'
  run "$RUN" --config nowhere.conf log/x.log true
  [ "$status" -eq 2 ]
  has 'nowhere.conf: cannot be read'
}

@test "a conf file declares further options" {
  printf 'command sbatch\noption partition=* -p $0\n' >s.conf
  "$RUN" --config s.conf --partition gpu log/x.log true
  run "$RUN" --config s.conf --queue gpu log/x.log true
  [ "$status" -eq 2 ]
}

@test "cmd.sh: ours by default, the caller's own command stays; an unknown back end is refused" {
  run bash -c ". '$ROOT/local/cmd.sh'; echo \"\$train_cmd|\$decode_cmd\""
  [ "$output" = 'local/run.sh|local/run.sh' ]
  run bash -c "export train_cmd='my.pl --mem 2G'; . '$ROOT/local/cmd.sh'; echo \"\$train_cmd\""
  [ "$output" = 'my.pl --mem 2G' ]
  CMD_BACKEND=pbs run "$RUN" log/x.log true
  [ "$status" -eq 2 ]
  has "no back end 'pbs', only local, sge, slurm, ssh"
}

@test "a warning of a time limit reaches a job within a job: it writes its checkpoint, code 75" {
  cat >train.py <<'P'
import signal, sys
signal.signal(signal.SIGUSR1, lambda *_: (print("warned", flush=True), sys.exit(75)))
open("ready", "w").close()
signal.pause()
P
  "$RUN" log/outer.log "$RUN" log/inner.log "$TRIVIUM_PYTHON" -S train.py &
  pid=$!
  eventually 60 test -e ready
  ends_with 75 USR1 "$pid"
  grep -qx warned log/inner.log
  grep -q '^# Ended (code 75)' log/outer.log
}
