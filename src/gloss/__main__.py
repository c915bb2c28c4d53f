"""`python -m gloss`, as launchers of several processes call it: the same as `gloss`."""

from gloss.cli.main import main

if __name__ == "__main__":
    main()
