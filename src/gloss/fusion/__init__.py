"""Several rankings of the same users joined into one."""
