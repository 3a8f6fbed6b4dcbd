"""The two kinds of windows, of labelled reviews and of text without labels: what their topics are and hold."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from shared.events import ClosedWindow, CuratedReview, UnlabeledReview, UnlabeledWindow
from shared.topics import REVIEWS_CURATED, REVIEWS_UNLABELED, WINDOWS_CLOSED, WINDOWS_UNLABELED, Topic

AnyReview = TypeVar("AnyReview", bound=CuratedReview | UnlabeledReview)
AnyWindow = TypeVar("AnyWindow", bound=ClosedWindow | UnlabeledWindow)


@dataclass(frozen=True)
class Kind(Generic[AnyReview, AnyWindow]):
    """One kind of windows.

    Attributes:
        role: Names the consumer group and the transactional id of its windower, after the stream's prefix.
        prefix: Of its windows' names.
        reviews, review: The topic that is cut, of one partition, and its event.
        manifests, manifest: The topic of what was cut, and its event.
    """

    role: str
    prefix: str
    reviews: Topic
    review: type[AnyReview]
    manifests: Topic
    manifest: type[AnyWindow]


LABELED = Kind("windower", "w", REVIEWS_CURATED, CuratedReview, WINDOWS_CLOSED, ClosedWindow)
UNLABELED = Kind("windower.unlabeled", "u", REVIEWS_UNLABELED, UnlabeledReview, WINDOWS_UNLABELED, UnlabeledWindow)
KINDS: tuple[Kind[Any, Any], ...] = (LABELED, UNLABELED)
