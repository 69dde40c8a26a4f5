"""CTC search (greedy, lexicon + n-gram beam), n-gram models, tuning. A search needs no torch."""
