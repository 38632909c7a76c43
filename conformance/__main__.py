"""``python -m conformance`` is ``peft-conformance``."""

from conformance.cli import main

if __name__ == "__main__":
    main()
