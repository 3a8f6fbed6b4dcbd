"""`python -m services.ingestor [--role curator|windower]`."""

from services.ingestor.app import main

if __name__ == "__main__":
    main()
