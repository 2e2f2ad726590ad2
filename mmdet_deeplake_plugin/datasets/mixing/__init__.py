"""Mix several samples into one, as mosaics do."""
