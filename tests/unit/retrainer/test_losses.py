import pytest
import torch

from services.retrainer.losses import teaching_loss
from shared.training_settings import DistillationSettings

TEACHER = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, -3.0]])
ALL, NONE = torch.tensor([True] * 3), torch.tensor([False] * 3)


def loss(logits: torch.Tensor, taught: torch.Tensor = ALL, weight: float = 1.0, temperature: float = 2.0) -> float:
    settings = DistillationSettings(weight=weight, temperature=temperature)
    return teaching_loss(logits, TEACHER, taught, settings).item()


def test_a_student_that_answers_like_its_teacher_loses_nothing() -> None:
    assert loss(TEACHER) == pytest.approx(0, abs=1e-7)
    assert loss(TEACHER + 5.0) == pytest.approx(0, abs=1e-6)


def test_it_is_the_divergence_of_the_softened_answers_times_temperature_squared() -> None:
    student = torch.zeros(3, 2)
    p = torch.softmax(TEACHER / 2, -1)
    divergence = (p * (p / 0.5).log()).sum(-1)
    assert loss(student) == pytest.approx(4 * divergence.mean().item(), rel=1e-5)
    assert loss(student, weight=0.25) == pytest.approx(divergence.mean().item(), rel=1e-5)


def test_rows_that_are_not_taught_add_nothing_but_count() -> None:
    student = torch.zeros(3, 2)
    parts = [loss(student, torch.tensor([place == row for place in range(3)])) for row in range(3)]
    assert sum(parts) == pytest.approx(loss(student), rel=1e-5)
    assert loss(student, NONE) == 0.0


def test_it_pulls_the_student_towards_the_teacher() -> None:
    student = torch.zeros(3, 2, requires_grad=True)
    teaching_loss(student, TEACHER, ALL, DistillationSettings(weight=1.0)).backward()
    assert student.grad is not None
    closer = student.detach() - 0.5 * student.grad
    assert loss(closer) < loss(torch.zeros(3, 2))
