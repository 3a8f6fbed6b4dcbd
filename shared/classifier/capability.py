"""The plan that a process begins with, and whether one that is asked for can be had on this machine."""

import os

import torch

from shared.classifier.int8 import has_int8
from shared.classifier.plan import EXACT, Plan
from shared.classifier.precision import choose_device, supports_bf16
from shared.classifier.threads import threads_on
from shared.errors import ConfigurationError
from shared.settings import ModelSettings


def token_budget(settings: ModelSettings) -> int:
    """Of one inference batch, where models are computed."""
    on_cpu = torch.device(choose_device(settings.device)).type == "cpu"
    return settings.token_budget if on_cpu else settings.gpu_token_budget


def usual_plan(token_budget: int, device: str = "cpu") -> Plan:
    """In fp32, on a CPU by as many threads as torch is set up for."""
    return Plan("torch", EXACT, threads_on(device), token_budget)


def check_plan(plan: Plan, device: str) -> None:
    """Raises ConfigurationError unless this machine can compute so, without emulation."""
    if plan.threads > (cpus := os.cpu_count() or 1):
        raise ConfigurationError(f"plan {plan.id}: {plan.threads} threads on {cpus} CPUs; ask for fewer, or for auto")
    if plan.precision == "bf16" and not supports_bf16(device):
        raise ConfigurationError(f"plan {plan.id}: {device} has no bf16 instructions; set auto or off")
    if plan.precision == "int8" and not has_int8(device):
        raise ConfigurationError(f"plan {plan.id}: int8 takes a CPU, and a torch with oneDNN; set auto or off")


def machine_kind(device: str) -> str:
    """Whatever, beside the model, speeds depend on."""
    instructions = torch.backends.cpu.get_cpu_capability()
    return f"torch {torch.__version__}, {instructions}, {os.cpu_count()} CPUs, {device}"
