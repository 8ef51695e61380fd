"""`python -m server` is `fjord`."""

from server.cli.main import main

if __name__ == "__main__":
    main()
