"""How a model is computed: by which backend, in which precision, by how many threads, how many tokens at once."""

import re
from dataclasses import dataclass, replace
from typing import Literal, get_args

from shared.errors import ConfigurationError

Backend = Literal["torch"]
PlanPrecision = Literal["fp32", "bf16", "int8"]
"""The most exact first. int8: weights and inputs of the linear layers, everything else in fp32."""

EXACT: PlanPrecision = "fp32"
PRECISIONS: tuple[PlanPrecision, ...] = get_args(PlanPrecision)
_ID = re.compile(
    rf"(?P<backend>{'|'.join(get_args(Backend))})-(?P<precision>{'|'.join(PRECISIONS)})"
    r"-t(?P<threads>[1-9]\d*)-b(?P<token_budget>[1-9]\d*)"
)


@dataclass(frozen=True, slots=True)
class Plan:
    """One way to compute; models that share a plan and their weights give the same answers.

    Attributes:
        threads: of the CPU, for one forward pass. token_budget: tokens of one forward pass, padding included where
            there is any. Neither changes an answer by more than rounding; the precision does.
    """

    backend: Backend
    precision: PlanPrecision
    threads: int
    token_budget: int

    @property
    def id(self) -> str:
        """Its name in answers, metrics and settings.

        >>> Plan("torch", "bf16", threads=2, token_budget=1024).id
        'torch-bf16-t2-b1024'
        """
        return f"{self.backend}-{self.precision}-t{self.threads}-b{self.token_budget}"

    @classmethod
    def parse(cls, text: str) -> "Plan":
        """The plan with this id.

        Raises:
            ConfigurationError: It is none.

        >>> Plan.parse("torch-int8-t1-b256").precision
        'int8'
        """
        if (found := _ID.fullmatch(text)) is None:
            raise ConfigurationError(f"{text!r} is no plan; write one like torch-bf16-t2-b1024")
        backend = next(name for name in get_args(Backend) if name == found["backend"])
        precision = next(name for name in PRECISIONS if name == found["precision"])
        return cls(backend, precision, int(found["threads"]), int(found["token_budget"]))

    @property
    def is_exact(self) -> bool:
        """Whether its answers are the reference's, to rounding."""
        return self.precision == EXACT

    def exact(self) -> "Plan":
        """The same in the precision of the reference."""
        return replace(self, precision=EXACT)
