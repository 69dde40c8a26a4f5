"""The built-in speech corpus: synthetic English in LibriSpeech's or VCTK's layout.

`config` says what is made, `words` and `grammar` what is said, `speakers` who says it, `espeak`
says it, `channel` records it, `build` puts it on disk;
`vctk_config` and `vctk` do it in VCTK's layout.
"""
