"""`python -m deploy.local.topics`: creates what is missing of Tidemill's topics, and says what."""

from contextlib import closing

from shared.kafka import Admin
from shared.settings import load_settings


def main() -> None:
    """Safe to repeat: existing topics stay as they are."""
    with closing(Admin(load_settings())) as admin:
        created = admin.create_topics()
    print(f"created topics: {', '.join(created)}" if created else "all topics exist", flush=True)


if __name__ == "__main__":
    main()
