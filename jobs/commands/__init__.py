"""The commands, a module each: options in, one call of the pipeline, results on stdout."""
