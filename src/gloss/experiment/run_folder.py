"""Where things lie in a run folder. Knows names only.

gloss-run.yaml                           the settings, resolved; it makes a folder a run
data/ model/ generations/ index/         one artefact a stage; validation-generations/ to fuse
rankings/{gloss,last-item,popularity}/   lists of items
vectors/ rankers/…/                      vectors of titles, and what each ranker is trained to
candidates/{validation,test}/…/          long lists of each ranker, to be fused
rankings/{rankers-only,fused}/           all rankers as one list: without the model, and with it
shifted-run/                             the same run one purchase earlier, to fit the fusion on
evaluations/…/                           what lists are worth
seeds/…/                                 the same run with other seeds
cold-items/                              the bundle with items that were held out, and its figures
report.html
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gloss.artifacts import MANIFEST
from gloss.errors import InputError

if TYPE_CHECKING:
    from gloss.data.dataset import SplitName

__all__ = ["FUSED", "OURS", "RANKERS", "SETTINGS", "RunFolder", "evaluation_at"]

SETTINGS = "gloss-run.yaml"
"""The file that makes a folder a run; nobody's own settings are called that."""

OURS = "gloss"
"""The name of the language model's own ranking and evaluation."""

RANKERS = "rankers-only"
"""The name of the ranking that fuses all rankers but the language model."""

FUSED = "fused"
"""The name of the ranking that fuses the language model with all rankers."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A folder made, or being made, by `gloss run`."""

    path: Path

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """The run at `path`; InputError if no run was ever begun there."""
        if not (Path(path) / SETTINGS).is_file():
            raise InputError(f"{path} is not a run folder: it has no {SETTINGS}")
        return cls(Path(path))

    @property
    def config(self) -> Path:
        return self.path / SETTINGS

    @property
    def lock(self) -> Path:
        """Held by the process that is at work on the run."""
        return self.path / ".gloss.lock"

    @property
    def data(self) -> Path:
        return self.path / "data"

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def generations(self) -> Path:
        return self.path / "generations"

    @property
    def index(self) -> Path:
        return self.path / "index"

    @property
    def vectors(self) -> Path:
        return self.path / "vectors"

    @property
    def validation_generations(self) -> Path:
        return self.path / "validation-generations"

    @property
    def shifted_run(self) -> RunFolder:
        """The same run one purchase earlier, where there is one."""
        return RunFolder(self.path / "shifted-run")

    def of_seed(self, seed: int) -> RunFolder:
        """The same run with another seed, where there is one."""
        return RunFolder(self.path / "seeds" / str(seed))

    @property
    def cold_items(self) -> Path:
        """What is measured of items that were held out."""
        return self.path / "cold-items"

    @property
    def page(self) -> Path:
        return self.path / "report.html"

    def written(self, split: SplitName) -> Path:
        """What the language model wrote for a split's users."""
        return self.generations if split == "test" else self.validation_generations

    def ranking(self, name: str) -> Path:
        """The ranking of ours, or of a baseline."""
        return self.path / "rankings" / name

    def ranker(self, split: str, name: str) -> Path:
        """The long lists of a ranker, or of the language model, to be fused."""
        return self.path / "candidates" / split / name

    def trained(self, name: str) -> Path:
        """What a ranker was trained to."""
        return self.path / "rankers" / name

    def evaluation(self, name: str) -> Path:
        """The evaluation of ours, or of a baseline."""
        return self.path / "evaluations" / name

    def evaluations(self) -> dict[str, Path]:
        """Every evaluation that is there, ours and the fused one first; drafts have hidden names
        and do not count."""
        found = {
            manifest.parent.name: manifest.parent
            for manifest in self.path.glob(f"evaluations/[!.]*/{MANIFEST}")
        }
        return dict(
            sorted(
                found.items(),
                key=lambda each: (each[0] not in (OURS, FUSED), each[0] != OURS, each[0]),
            )
        )


def evaluation_at(path: Path) -> Path:
    """The evaluation that a path means: a run folder's own, or the folder itself."""
    run = RunFolder(Path(path))
    return run.evaluation(OURS) if run.config.is_file() else run.path
