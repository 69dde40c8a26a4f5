#!/usr/bin/env bash
# Usage: local/run_each.sh [options] <run.sh> [its options]
# Runs a recipe once for each system and seed, as the jobs of one array, in one --exp: first, here, the
# stages that the runs share; then the array; at last, here, the report of all of them. Runs that fail
# are named; the same command again goes on where each was, with --pick failed with those alone.
# e.g.: local/run_each.sh --systems "hubert mt4ssl" --seeds "1 2 3" egs/librispeech/run.sh --preset small
# A run does all its work within its job, which asks for what the whole run needs:
#   local/run_each.sh --cmd-backend slurm --cmd "local/run.sh --gpu 1 --time 24:00:00" --seeds "1 2" \
#     egs/vctk/run.sh --preset base --corpus-dir /data/VCTK --ngpu 1
# With --cmd-backend among the recipe's options each run submits its stages instead, from a small job.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../path.sh"
# options
systems=         # what to run, each by itself; parted by blanks; empty: what the recipe runs by default
seeds=           # the seeds of each, parted by blanks; empty: 1
cmd=local/run.sh # how to run the array, Kaldi's grammar
cmd_backend=     # where local/run.sh runs jobs: local, slurm, sge, ssh; empty: CMD_BACKEND, or local
max_jobs_run=    # runs at once, at most
pick=all         # runs of the same command before that run again: all, failed or incomplete
job=             # only the run of this number, here: what a job of the array does
dry_run=false    # print every command and stop
# end of options
# shellcheck disable=SC2034 # read by parse_options.sh: what follows the recipe is the recipe's
options_first=true
. "$TRIVIUM_ROOT/local/parse_options.sh"
. "$TRIVIUM_ROOT/local/lib.sh"
[ $# -ge 1 ] || usage
recipe=$1 given=("${@:2}")
[ -f "$recipe" ] || usage_error "$recipe: no such recipe: name its run.sh, after the options of this script"

case $pick in all | failed | incomplete) ;; *) usage_error "--pick $pick: all, failed or incomplete" ;; esac

declares() { grep -q "^$1=" "$recipe"; } # declares <variable>: whether the recipe has that option

# given_option <name> <default>: the last value of one of the recipe's options.
given_option() {
  local i value=$2 word
  for ((i = 0; i < ${#given[@]}; i++)); do
    word=${given[i]%%=*}
    [ "${word//_/-}" = "--$1" ] || continue
    [[ ${given[i]} == *=* ]] && value=${given[i]#*=} || value=${given[i + 1]-}
  done
  printf '%s\n' "$value"
}

for word in "${given[@]}"; do
  case $word in
    --system | --systems | --seed | --system=* | --systems=* | --seed=*)
      usage_error "$word: is said before the recipe, by --systems and --seeds"
      ;;
    --dry-run | --dry-run=* | --dry_run*) usage_error "$word: say it before the recipe" ;;
    --status* | --list-stages* | --list_stages*) usage_error "$word: ask the recipe itself" ;;
  esac
done
read -ra systems_list <<<"$systems"
read -ra seeds_list <<<"${seeds:-1}"
system_option=
if [ ${#systems_list[@]} -eq 0 ]; then
  systems_list=('')
elif declares system; then
  system_option=--system
elif declares systems; then
  system_option=--systems
else
  usage_error "--systems: $recipe has neither --system nor --systems"
fi
declares seed || usage_error "$recipe has no option --seed: is it a recipe's run.sh?"

# The stages: all but the report are the runs'; --stop-stage of the recipe ends them sooner.
declare -A number=()
last=0
listed=$(bash "$recipe" "${given[@]}" --list-stages)
while read -r n name _; do
  number[$name]=$n last=$n
done <<<"$listed"
report=${number[report]-}
[ -z "$report" ] || last=$((report - 1))
stop=$(given_option stop-stage '')
[ -z "$stop" ] || stop=${number[$stop]-$stop}
if [ -n "$stop" ] && ((stop <= last)); then last=$stop report=; fi

# run_line <back end> <system> <seed> <last stage>: the recipe's words into `line`.
run_line() {
  line=(bash "$recipe")
  # What the user says of the recipe's own back end comes later and wins.
  [ -z "$1" ] || ! declares cmd_backend || line+=(--cmd-backend "$1")
  line+=("${given[@]}")
  [ -z "$2" ] || line+=("$system_option" "$2")
  line+=(--seed "$3" --stop-stage "$4")
  ! declares wait || line+=(--wait true)
}

# job_line <number>: the words of a run of the array into `line`, what it is into `title`.
job_line() {
  local system=${systems_list[($1 - 1) / ${#seeds_list[@]}]} seed=${seeds_list[($1 - 1) % ${#seeds_list[@]}]}
  title="${system:+$system, }seed $seed"
  run_line local "$system" "$seed" "$last" # its stages run within the job
}

# shared_until <system>: the number of the last stage before the first whose commands a seed changes.
shared_until() {
  local -a line one other
  local i n=0 plan
  run_line "" "$1" 1 "$last"
  plan=$("${line[@]}" --dry-run)
  mapfile -t one <<<"$plan"
  run_line "" "$1" 2 "$last"
  plan=$("${line[@]}" --dry-run)
  mapfile -t other <<<"$plan"
  for i in "${!one[@]}"; do
    [[ ! ${one[i]} =~ ^'# stage '([0-9]+)' ' ]] || n=${BASH_REMATCH[1]}
    [ "${one[i]}" = "${other[i]-}" ] || break
  done
  [ "${one[*]}" != "${other[*]}" ] || n=$((last + 1))
  echo $((n - 1))
}

# run_here <word>...: runs, or prints, a command of this machine.
run_here() {
  if [ "$dry_run" = true ]; then _lib_quote "$@"; else foreground "$@"; fi
}

# what_they_share: the stages before the first that a seed changes, once for each system.
what_they_share() {
  local system shared
  for system in "${systems_list[@]}"; do
    shared=$(shared_until "$system")
    ((shared > 0)) || continue
    run_line "$cmd_backend" "$system" "${seeds_list[0]}" "$shared"
    log "stages 1 to $shared, which all seeds ${system:+of $system }share"
    run_here "${line[@]}" ||
      die "what the runs share failed: mend the cause above and run the same command again"
  done
}

# array_of_runs: submits them, waits, and names those that failed.
array_of_runs() {
  local -a words failed=()
  local i end rc=0
  read -ra words <<<"$cmd"
  [ -z "$cmd_backend" ] || words=(env CMD_BACKEND="$cmd_backend" "${words[@]}")
  [ -z "$max_jobs_run" ] || words+=(--max-jobs-run "$max_jobs_run")
  [ "$pick" = all ] || words+=(--pick "$pick")
  log "$total runs, logs in $exp/log"
  run_here "${words[@]}" "JOB=1:$total" "$exp/log/run_each.JOB.log" "$TRIVIUM_ROOT/local/run_each.sh" \
    --job JOB --systems "$systems" --seeds "$seeds" "$recipe" "${given[@]}" || rc=$?
  for ((i = 1; i <= total; i++)); do
    job_line "$i"
    end=$(tail -n 1 "$exp/log/run_each.$i.log" 2>/dev/null) || end=
    if [ "$dry_run" = true ]; then
      printf '# JOB=%d: %s\n    %s\n' "$i" "$title" "$(_lib_quote "${line[@]}")"
    elif [[ $end != '# Ended (code 0)'* && $end != '# Finished at '*' with status 0' ]]; then
      failed+=("$title ($exp/log/run_each.$i.log)") # footers of run.pl and ours, of slurm.pl and queue.pl
    fi
  done
  [ "$rc" -ne 0 ] || return 0
  if [ "$rc" -eq 75 ]; then
    log "runs stopped after a checkpoint: the same command goes on from there"
    trap - ERR
    exit 75
  fi
  words=("$0" --pick failed --cmd "$cmd" --systems "$systems" --seeds "$seeds")
  [ -z "$cmd_backend" ] || words+=(--cmd-backend "$cmd_backend")
  [ -z "$max_jobs_run" ] || words+=(--max-jobs-run "$max_jobs_run")
  die "${#failed[@]} of $total runs failed: $(printf '%s; ' "${failed[@]}")mend the cause above; to go on" \
    "with them: $(_lib_quote "${words[@]}" "$recipe" "${given[@]}")"
}

all() {
  what_they_share
  array_of_runs
  if [ -n "$report" ]; then
    run_line "$cmd_backend" "${systems_list[0]}" "${seeds_list[0]}" "$report"
    log "report of all runs"
    run_here "${line[@]}" --stage "$report"
  fi
  [ "$dry_run" = true ] || log "done: $total runs in $SECONDS s, logs in $exp/log"
}

total=$((${#systems_list[@]} * ${#seeds_list[@]}))
if [ -n "$job" ]; then
  { [[ $job =~ ^[1-9][0-9]*$ ]] && ((job <= total)); } || usage_error "--job $job: a number from 1 to $total"
  job_line "$job"
  log "run $job of $total: $title: $(_lib_quote "${line[@]}")"
  # The jobs of its stages run side by side in it: threads are the recipe's matter.
  unset OMP_NUM_THREADS
  exec "${line[@]}"
fi
exp=$(given_option exp exp)
[[ $exp == /* ]] || exp=$(dirname "$recipe")/$exp
if [ "$dry_run" = false ]; then
  mkdir -p "$exp/log" || die "$exp/log cannot be made: see the rights of $exp, or use --exp DIR"
  exec {lock}<>"$exp/log/run_each.lock"
  flock -n "$lock" || die "another run_each.sh is at work in $exp: wait for it or stop it; a run beside it" \
    "is started by the recipe itself, with --wait"
fi
# Read whole before it runs: it runs for days, and the file may be replaced meanwhile.
{
  all
  exit
}
