"""``python -m earzip`` and ``accelerate launch -m earzip``."""

from earzip.cli.main import main

if __name__ == "__main__":
    main()
