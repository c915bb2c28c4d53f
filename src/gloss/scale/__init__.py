"""The same work on a Ray cluster. Ray schedules; files, checksums and resuming are ours."""
