"""What is on disk: data directories and their rules, ark/scp, audio, text, atomic writes.

Nothing here imports torch (the built-in corpora in `pylib.corpus.mini` excepted), and this file
imports nothing, so that `--help` and the shell verbs start at once.
"""
