"""Stages, array jobs and launching. Standard library only; imports nothing else of ours."""
