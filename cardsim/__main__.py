"""`python -m cardsim`, and the console script."""

from cardsim.cli import main

if __name__ == "__main__":
    main()
