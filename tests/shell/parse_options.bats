#!/usr/bin/env bats
# Every trap of Kaldi's parse_options.sh, with the outcome that ours has.

load helper

setup() { scratch; }

@test "an option as the last word says that it needs a value" {
  script 'nj=4 # jobs'
  run timeout 10 bash t.sh --nj
  [ "$status" -eq 2 ]
  has '--nj needs a value'
}

@test "an option in place of a value is an error, stated by = it is the value" {
  script 'tag= # a tag' 'nj=4 # jobs'
  run bash t.sh --tag --nj 3
  [ "$status" -eq 2 ]
  has '--tag needs a value, found the option --nj'
  run bash t.sh --tag=--nj 3
  [ "$status" -eq 0 ]
  has 'tag=[--nj]'
  has 'arg=[3]'
  # A word with dashes that is no option of the script is a value like any other.
  run bash t.sh --tag --odd
  [ "$status" -eq 0 ]
  has 'tag=[--odd]'
}

@test "a value is kept literally: no substitution, quotes stay" {
  script 'tag= # a tag'
  run bash t.sh --tag 'a$(touch pwned)`touch pwned`"b"\c; touch pwned'
  [ "$status" -eq 0 ]
  has 'tag=[a$(touch pwned)`touch pwned`"b"\c; touch pwned]'
  [ ! -e pwned ]
  run bash t.sh --tag $'two\nlines  and %s'
  has $'tag=[two\nlines  and %s]'
}

@test "an integer default asks for an integer, a number for a number" {
  script 'nj=4 # jobs' 'rate=1e-3 # rate' 'low=-5 # low'
  run bash t.sh --nj abc
  [ "$status" -eq 2 ]
  has "--nj takes an integer, not 'abc'"
  run bash t.sh --nj 1.5
  [ "$status" -eq 2 ]
  run bash t.sh --nj ''
  [ "$status" -eq 2 ]
  run bash t.sh --rate fast
  [ "$status" -eq 2 ]
  has "--rate takes a number, not 'fast'"
  run bash t.sh --rate 3 --low -7 --nj 8
  [ "$status" -eq 0 ]
  has 'rate=[3]'
  has 'low=[-7]'
  has 'nj=[8]'
}

@test "true and false for a boolean, a bare flag is true" {
  script 'force=false # force'
  run bash t.sh --force yes
  [ "$status" -eq 2 ]
  has "--force takes true or false, not 'yes'"
  run bash t.sh --force=1
  [ "$status" -eq 2 ]
  run bash t.sh --force
  has 'force=[true]'
  run bash t.sh --force false
  has 'force=[false]'
  run bash t.sh --force data/train
  has 'force=[true]'
  has 'arg=[data/train]'
}

@test "only declared names can be set" {
  script 'nj=4 # jobs'
  for word in --PATH --path --IFS --BASH_ENV --_po_names; do
    run bash t.sh "$word" /x
    [ "$status" -eq 2 ]
    has "unknown option $word"
    run bash t.sh "$word=/x"
    [ "$status" -eq 2 ]
    echo "${word#--}=/x" >f.conf
    run bash t.sh --config f.conf
    [ "$status" -eq 2 ]
  done
}

@test "options after a positional argument are parsed" {
  script 'nj=4 # jobs'
  run bash t.sh one --nj 2 two
  [ "$status" -eq 0 ]
  has 'nj=[2]'
  has $'arg=[one]\narg=[two]'
}

@test "a script without positional arguments refuses them" {
  USAGE='t.sh [options]' script 'nj=4 # jobs'
  run bash t.sh pos1 --nj 2
  [ "$status" -eq 2 ]
  has "takes no arguments, only options: 'pos1'"
}

@test "-- ends the options, silently" {
  script 'nj=4 # jobs'
  run bash t.sh --nj 2 -- --nj 3 -x
  [ "$status" -eq 0 ]
  [ "$output" = $'nj=[2]\narg=[--nj]\narg=[3]\narg=[-x]' ]
}

@test "help is printed literally and exits 0, on stdout" {
  script 'nj=4 # 50% of %d jobs'
  run --separate-stderr bash t.sh --help
  [ "$status" -eq 0 ]
  has 'Does 100% of %s it.'
  has '50% of %d jobs (default: 4)'
  [ -z "$stderr" ]
  run bash t.sh one -h
  [ "$status" -eq 0 ]
  has 'Usage: t.sh [options] <argument>...'
}

@test "help is built from the comments: headings, continuations, defaults" {
  script '# Data' 'set=train # which set' '           # of the corpus' 'tag= # a tag'
  run bash t.sh --help
  [ "$status" -eq 0 ]
  has $'\nData\n  --set'
  has $'which set\n                       of the corpus (default: train)'
  has $'a tag\n'
}

@test "--name=value is accepted, with = in the value too; _ and - are one" {
  script 'foo_bar=4 # x' 'tag= # t'
  run bash t.sh --foo-bar=5 --tag=a=b=
  has 'foo_bar=[5]'
  has 'tag=[a=b=]'
  run bash t.sh --foo_bar 6 --tag=
  has 'foo_bar=[6]'
  has 'tag=[]'
}

@test "a misspelt option is answered with the nearest one" {
  script 'stop_stage= # last' 'stage= # first' 'nj=1 # jobs'
  run bash t.sh --stopstage 3
  [ "$status" -eq 2 ]
  has 'did you mean --stop-stage?'
  run bash t.sh -nj 3
  [ "$status" -eq 2 ]
  has 'did you mean --nj?'
  run bash t.sh --completely-different 3
  [ "$status" -eq 2 ]
  lacks 'did you mean'
}

@test "--config is read, not executed, and the command line wins in any order" {
  script 'nj=4 # jobs' 'tag= # tag' 'cmd=run.pl # how'
  cat >ok.conf <<'C'
# a comment
nj = 8
--tag="$(touch pwned) x"   # trailing
cmd=run.pl --mem 2G # how
C
  run bash t.sh --nj 9 --config ok.conf
  [ "$status" -eq 0 ]
  has 'nj=[9]'
  has 'tag=[$(touch pwned) x]'
  has 'cmd=[run.pl --mem 2G]'
  [ ! -e pwned ]
  run bash t.sh --config=ok.conf --nj 7
  has 'nj=[7]'
}

@test "--config errors name file and line" {
  script 'nj=4 # jobs'
  printf 'nj=4\nnj=many\n' >a.conf
  run bash t.sh --config a.conf
  [ "$status" -eq 2 ]
  has 'a.conf:2: --nj takes an integer'
  printf 'mj=4\n' >b.conf
  run bash t.sh --config b.conf
  [ "$status" -eq 2 ]
  has 'b.conf:1: unknown option --mj: did you mean --nj?'
  printf 'touch pwned\n' >c.conf
  run bash t.sh --config c.conf
  [ "$status" -eq 2 ]
  has 'c.conf:1: expected name=value'
  printf 'nj=4\r\n' >d.conf
  run bash t.sh --config d.conf
  [ "$status" -eq 2 ]
  has 'd.conf:1: carriage return'
  run bash t.sh --config nowhere.conf
  [ "$status" -eq 2 ]
  has 'nowhere.conf: no such file'
  run bash t.sh --config
  [ "$status" -eq 2 ]
  [ ! -e pwned ]
}

@test "a script that declares config gets its value" {
  script 'config=conf/a.toml # model' 'nj=4 # jobs'
  run bash t.sh --config other.toml
  [ "$status" -eq 0 ]
  has 'config=[other.toml]'
}

@test "an empty --cmd is refused" {
  script 'cmd=run.pl # how'
  for value in '' '  '; do
    run bash t.sh --cmd "$value"
    [ "$status" -eq 2 ]
    has '--cmd is empty'
  done
}

@test "a --cmd of this repository is found from anywhere" {
  script 'cmd=local/run.sh # how'
  run bash t.sh
  has "cmd=[$ROOT/local/run.sh]"
  run bash t.sh --cmd 'local/run.sh --mem 2G'
  has "cmd=[$ROOT/local/run.sh --mem 2G]"
  mkdir local
  touch local/run.sh
  run bash t.sh
  has 'cmd=[local/run.sh]'
  run bash t.sh --cmd 'slurm.pl --mem 2G'
  has 'cmd=[slurm.pl --mem 2G]'
}

@test "--stage takes a number or a stage's name" {
  USAGE='t.sh [options]' script 'stage= # first' 'stop_stage= # last' 'list_stages=false # list'
  cat >>t.sh <<'S'
exit
stage 3 kmeans -- x
stage 12 pretrain -- x
S
  run bash t.sh --stage kmeans --stop-stage=pretrain
  [ "$status" -eq 0 ]
  has $'stage=[3]\nstop_stage=[12]'
  run bash t.sh --stage 7
  has 'stage=[7]'
  run bash t.sh --stage kmean
  [ "$status" -eq 2 ]
  has "not 'kmean': did you mean kmeans?"
  run bash t.sh --stage -1
  [ "$status" -eq 2 ]
}

@test "usage prints the help to stderr and exits 2" {
  script 'nj=4 # jobs'
  echo '[ $# -eq 2 ] || usage' >>t.sh
  run --separate-stderr bash t.sh one
  [ "$status" -eq 2 ]
  [[ $stderr == *'Usage: t.sh'* ]]
}

@test "the last of a repeated option counts; defaults stay without options" {
  script 'nj=4 # jobs' 'tag="a # b" # tag'
  run bash t.sh --nj 1 --nj 2
  has 'nj=[2]'
  has 'tag=[a # b]'
  run bash t.sh
  has 'nj=[4]'
}

@test "a script that changes directory before its options are read" {
  script 'nj=4 # jobs'
  mkdir -p sub/elsewhere
  mv t.sh sub/
  sed -i 's|^# options|cd sub/elsewhere\n&|' sub/t.sh
  run bash sub/t.sh --nj 2
  [ "$status" -eq 0 ]
  has 'nj=[2]'
  run bash sub/t.sh --help
  [ "$status" -eq 0 ]
  has '--nj                 jobs (default: 4)'
}
