"""Training: configuration, batches, the one loop, checkpoints, schedules, health monitor."""
