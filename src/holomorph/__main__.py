"""``python -m holomorph``: the command line where its script is not on the path."""

from holomorph.cli import main

if __name__ == "__main__":
    main()
