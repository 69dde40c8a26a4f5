#!/usr/bin/env bash
# Sourced by local/preset.sh, for recipes: which file of settings in conf/ goes with a training, and
# what it says.
set -euo pipefail

# chosen <name> <part>...: conf/<name>.toml, or the file whose name goes on with those of the parts,
# in this order, with which there is one: seq2seq_base, v, 433h -> conf/seq2seq_base_v_433h.toml,
# but seq2seq_base, av, 433h -> conf/seq2seq_base_433h.toml.
chosen() {
  local file=conf/$1 part
  for part in "${@:2}"; do
    [ -z "$part" ] || [ ! -f "${file}_$part.toml" ] || file+=_$part
  done
  echo "$file.toml"
}

# setting <key> <file>...: what the last of the configurations that has it says, else nothing.
setting() {
  "$TRIVIUM_PYTHON" -S -c 'import pathlib, sys
from pylib.training.config_file import read_flat
values = {}
for path in sys.argv[2:]:
    values |= read_flat(pathlib.Path(path))[0]
print(values.get(sys.argv[1], ""))' "$@"
}
