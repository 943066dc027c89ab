"""What runs the pipeline: the command line, the engines (local and Ray) and the scheduling."""
