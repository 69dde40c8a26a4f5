"""Shared blocks: front ends, transformer, masks, EMA teacher, heads. No file, no clock, no env."""
