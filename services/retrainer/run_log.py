"""What is kept of a run in the registry besides its model; each call may be repeated."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import structlog

from services.retrainer.progress import Point
from services.retrainer.runs import WorkFolder
from shared.errors import RegistryRefusedError
from shared.events import ClosedWindow, UnlabeledWindow
from shared.registry import Registry

log = structlog.get_logger("retrainer")
WINDOWS_FOLDER, PLOTS_FOLDER = "windows", "plots"


class RunLog:
    """Writes to the registry's runs."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def numbers(
        self, run_id: str, parameters: Mapping[str, object], measurements: Mapping[str, float], step: int
    ) -> None:
        """Parameters and final metrics."""
        try:
            self._registry.log_params(run_id, parameters)
        except RegistryRefusedError as error:
            # A run folder was lost and the window planned anew: MLflow keeps the first values, plan.json the true ones.
            log.warning("params_kept", run=run_id, error=str(error))
        self._registry.log_metrics(run_id, measurements, step=step)

    def series(self, run_id: str, curves: Mapping[str, Sequence[tuple[int, float]]]) -> None:
        """Curves, by name."""
        for name, points in curves.items():
            self._registry.log_series(run_id, name, points)

    def files(self, run_id: str, run: WorkFolder) -> None:
        """Plan, result, environment, progress and plots."""
        for file in (run.plan_file, run.result_file, run.environment_file, run.progress_file):
            self._registry.log_file(run_id, file)
        for plot in sorted(run.plots.glob("*.png")):
            self._registry.log_file(run_id, plot, PLOTS_FOLDER)

    def manifests(self, run_id: str, windows: Iterable[ClosedWindow | UnlabeledWindow]) -> None:
        """The windows that gave rows."""
        for window in windows:
            name = str(Path(WINDOWS_FOLDER) / f"{window.window_id}.json")
            self._registry.log_text(run_id, window.model_dump_json(indent=2), name)


def loss_series(points: Sequence[Point]) -> dict[str, list[tuple[int, float]]]:
    """The curves as MLflow charts them; of one, the x axis counts tokens instead of steps."""
    return {
        "loss": [(point.step, point.loss) for point in points],
        "loss_by_tokens": [(point.tokens_seen, point.loss) for point in points],
        "learning_rate": [(point.step, point.learning_rate) for point in points],
        "curve_rows_per_second": [(point.step, point.rows_per_second) for point in points],
    }
