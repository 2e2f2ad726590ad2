"""Pure: (seed, epoch, chunks) to an order of samples."""
