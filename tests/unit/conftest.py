"""What unit tests of several parts need."""

from collections.abc import Iterator

import pytest


@pytest.fixture
def torch_as_before() -> Iterator[None]:
    """Threads and determinism are torch's for the whole process: whoever trains in it puts them back."""
    import torch  # most tests need none, and it takes seconds

    threads = torch.get_num_threads()
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)
