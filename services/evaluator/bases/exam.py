"""What the process that scores bases is asked, and what it may answer. Light, as the other exam is."""

from dataclasses import dataclass

from services.evaluator.bases.gate import Comparison
from services.evaluator.exam import Failure, Model
from services.evaluator.pool import HeldOutRow
from shared.settings import Settings


@dataclass(frozen=True, slots=True)
class BaseExam:
    """One sitting of the gate of bases.

    Attributes:
        base: The adapted base.
        run_id: The run that holds what it is compared with: the parent, and a classifier made of either.
        exam_digest: Of that folder.
        texts: Held-out unlabelled reviews, each text once.
        rows: Held-out labelled reviews, each text once.
    """

    base: Model
    run_id: str
    exam_digest: str
    texts: tuple[str, ...]
    rows: tuple[HeldOutRow, ...]


BaseResult = Comparison | Failure


def score_bases(exam: BaseExam, settings: Settings) -> BaseResult:
    """Asks both bases, and the classifiers made of them. For a process of its own, which pays for the imports."""
    from services.evaluator.bases.scorer import examine
    from shared.registry import Registry

    return examine(exam, settings, Registry(settings, model=settings.stream.registered_base))
