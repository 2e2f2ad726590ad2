"""Orders of samples as pure functions of seed, epoch and chunks."""
