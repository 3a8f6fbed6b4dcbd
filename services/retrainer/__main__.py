"""`python -m services.retrainer`."""

from services.retrainer.app import main

if __name__ == "__main__":
    main()
