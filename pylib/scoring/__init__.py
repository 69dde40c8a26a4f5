"""WER and CER, intervals, significance, reports. No torch."""
