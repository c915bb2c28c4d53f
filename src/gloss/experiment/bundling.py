"""The way from experiments to bundles: `gloss bundle` and `gloss fit`.

Knows run folders, and what a bundle is made of; a bundle knows no run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gloss.artifacts import MANIFEST, Artifact, Recipe, open_artifact, read_recorded
from gloss.config import Settings
from gloss.data.dataset import Dataset
from gloss.errors import ConfigError, InputError
from gloss.experiment import stages
from gloss.experiment.following import on_data, protocol_of
from gloss.experiment.loading import load_experiment
from gloss.experiment.pipeline import Announce, index_of, quietly, train_parts
from gloss.experiment.run_folder import FUSED, OURS, RANKERS, RunFolder
from gloss.experiment.served import served_list
from gloss.experiment.settings import Experiment
from gloss.experiment.sizing import filled
from gloss.fusion.reciprocal_rank import RULE as RECIPROCAL_RANK
from gloss.fusion.rule import FittedFusion
from gloss.fusion.rules import rule_named
from gloss.language.records import KIND as MODEL_KIND
from gloss.rankers.ranker import RankerSpec
from gloss.rankers.sources import RankerSources
from gloss.rankers.specs import ranker_named
from gloss.rankings import files as rankings
from gloss.rankings.records import (
    FusedRankingConfig,
    FusionSummary,
    RankerRankingConfig,
    TitleRankingConfig,
    config_of,
)
from gloss.recommender.bundle import (
    KIND,
    BundleConfig,
    Contents,
    ModelPart,
    RankerPart,
    write_bundle,
)
from gloss.retrieval.dense.encoders import PRESETS
from gloss.retrieval.index import KIND as INDEX_KIND
from gloss.retrieval.settings import IndexSettings

__all__ = ["bundle", "fit"]

_EVERYTHING = "none"
"""The name of the split that holds nothing back: every purchase is in training."""


_HELD_OUT = ("split", "cold_items", "cold_seed")
"""What of the data a measured run does not train on."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A ranker, its settings, and how many items it brings to the fusion.

    ranking: its ranking in the measured run, which the ranker of the bundle has to match; None
    where the ranker is trained anew.
    """

    spec: RankerSpec[Any]
    settings: Settings
    length: int
    ranking: Artifact | None = None

    def require_same(self, sources: RankerSources) -> None:
        """Raise ArtifactError if the ranker would be built from anything else."""
        if self.ranking is None:
            return
        for role, fingerprint in sources.inputs(self.spec, self.settings).items():
            self.ranking.require_input(role, fingerprint, f"the {role} that lies in the run")


@dataclass(frozen=True, slots=True)
class _Served:
    """How lists are made: by which parts, and how these become one."""

    model: ModelPart | None
    rankers: tuple[_Part, ...]
    rule: str | None
    fusion: FittedFusion | None
    exclude_seen: bool
    length: int

    @property
    def trained(self) -> tuple[_Part, ...]:
        """The rankers that were trained."""
        return tuple(part for part in self.rankers if part.spec.training)

    @property
    def reads_vectors(self) -> bool:
        """Whether a ranker reads vectors of titles."""
        return any("title-vectors" in part.spec.all_needs(part.settings) for part in self.rankers)


def bundle(run: Path, out: Path, *, model: bool | None = None, guarded: bool = True) -> Artifact:
    """Write what a run would serve as the bundle `out`.

    model: whether the language model is a part of it; without a word, where the run has it.
    guarded: whether the best part alone stands in for a fused list that is no better. What is
    served is what was measured: rankers, their settings and the fusion are read from the ranking.
    Raises InputError when the run has not come so far, ArtifactError when a part is missing,
    damaged or not the one that was measured.
    """
    folder = RunFolder.open(Path(run))
    experiment = _measured(folder)
    ranking = _ranking_of(folder, experiment, model, guarded=guarded)
    served = _served(folder, ranking)
    return _bundled(experiment, folder, served, out, inputs={"ranking": ranking.fingerprint})


def fit(
    experiment: Experiment,
    out: Path,
    *,
    parts: Path,
    measured: Path | None = None,
    model: bool = True,
    announce: Announce = quietly,
    force: bool = False,
) -> Artifact:
    """Train an experiment's recommender on all purchases, and write it as the bundle `out`.

    Nothing is held back, so nothing can be measured: the figures are those of a run of the same
    settings. measured: such a run, whose fitted fusion is taken over; without one several lists are
    joined by their ranks. parts: the folder in which the parts are trained; a fit that was killed
    goes on there. force: as in `pipeline.run`. Raises ConfigError when the measured run has other
    settings.
    """
    _require_portable(index_of(experiment, protocol_of(experiment)))
    data = experiment.data.model_copy(update={"split": _EVERYTHING, "cold_items": None})
    of_all = experiment.model_copy(update={"data": data, "limit_users": None})
    if measured is None:
        _require_parts(of_all, model=model)
        folder = train_parts(of_all, parts, model=model, announce=announce, force=force)
        of_all = on_data(of_all, Dataset.load(folder.data))
        served, inputs = _unmeasured(of_all, model=model), {}
    else:
        run = RunFolder.open(Path(measured))
        of_run = load_experiment(run.config)
        _require_same(filled(experiment, of_run), of_run, run)
        known, of_all = _measured(run), filled(of_all, of_run)
        ranking = _ranking_of(run, known, None if model else False)
        inputs = {"measured ranking": ranking.fingerprint}
        served = _served(run, ranking)
        served = replace(served, rankers=tuple(replace(p, ranking=None) for p in served.rankers))
        of_all = of_all.model_copy(update={"ranking": known.ranking, "rankers": known.rankers})
        folder = train_parts(
            of_all, parts, model=served.model is not None, announce=announce, force=force
        )
    with announce("bundle"):
        return _bundled(of_all, folder, served, out, inputs=inputs)


def _measured(run: RunFolder) -> Experiment:
    """The settings of a run, as its data completed them."""
    if not any((run.ranking(name) / MANIFEST).is_file() for name in (OURS, RANKERS, FUSED)):
        raise _unfinished(run)
    return on_data(load_experiment(run.config), Dataset.load(run.data))


def _unfinished(run: RunFolder) -> InputError:
    return InputError(f"{run.path} has no ranking to serve yet: finish it with `gloss run`")


def _require_parts(experiment: Experiment, *, model: bool) -> None:
    """Raise ConfigError where nothing would answer."""
    if not model and not experiment.rankers.use:
        raise ConfigError("without a language model, rankers.use has to name a ranker")


def _ranking_of(
    folder: RunFolder, experiment: Experiment, model: bool | None, *, guarded: bool = True
) -> Artifact:
    """The ranking that a bundle of this run answers with."""
    _require_parts(experiment, model=model is not False)
    if experiment.rankers.use:
        found = served_list(folder, model=model, guarded=guarded)
        if found:
            return found[1]
    elif (folder.ranking(OURS) / MANIFEST).is_file():
        return open_artifact(folder.ranking(OURS), rankings.KIND)
    raise _unfinished(folder)


def _served(folder: RunFolder, ranking: Artifact) -> _Served:
    """What a ranking was made by."""
    made = config_of(ranking)
    if isinstance(made, RankerRankingConfig):
        length = protocol_of(load_experiment(folder.config)).length
        parts = (_ranker_part(ranking),)
        return _Served(None, parts, None, None, made.exclude_seen, length)
    if not isinstance(made, FusedRankingConfig):
        model = _model_part(folder, ranking)
        return _Served(model, (), None, None, made.exclude_seen, made.length)
    return _fused(folder, ranking, made)


def _fused(folder: RunFolder, ranking: Artifact, made: FusedRankingConfig) -> _Served:
    model_part, parts = None, []
    for number, name in enumerate(made.rankers, 1):
        part = open_artifact(folder.ranker("test", name), rankings.KIND)
        ranking.require_input(f"ranking {number}", part.fingerprint, f"the ranking {part.path}")
        if name == OURS:
            model_part = _model_part(folder, part)
        else:
            parts.append(_ranker_part(part))
    rule = FusionSummary.of(ranking).rule or made.fusion
    with ranking.reading(), ranking.folder() as files:
        fusion = rule_named(rule).load(files)
    return _Served(model_part, tuple(parts), rule, fusion, made.exclude_seen, made.length)


def _ranker_part(ranking: Artifact) -> _Part:
    """The ranker that has made a ranking."""
    ranked = RankerRankingConfig.of(ranking)
    spec = ranker_named(ranked.ranker)
    settings = read_recorded(spec.settings, ranked.settings, of=ranking)
    return _Part(spec, settings, ranked.length, ranking)


def _model_part(folder: RunFolder, ranking: Artifact) -> ModelPart:
    made = TitleRankingConfig.of(ranking)
    return ModelPart(
        decoding=load_experiment(folder.config).decoding,
        fusion=made.fusion,
        per_query=made.per_query,
        length=made.length,
    )


def _unmeasured(experiment: Experiment, *, model: bool) -> _Served:
    """What an experiment's settings say, with nothing fitted."""
    protocol, section = protocol_of(experiment), experiment.rankers
    rankers, length = [ranker_named(name) for name in section.use], section.length
    assert length is not None  # `on_data` has set it
    parts = tuple(_Part(spec, section.of(spec), length) for spec in rankers)
    _require_parts(experiment, model=model)
    is_fused = model + len(parts) > 1
    of_model = ModelPart(
        decoding=experiment.decoding,
        fusion="beam-order" if parts else protocol.fusion_of(experiment.index.retriever),
        per_query=1 if parts else protocol.per_query,
        length=length if parts else protocol.length,
    )
    return _Served(
        of_model if model else None,
        parts,
        RECIPROCAL_RANK.name if is_fused else None,
        RECIPROCAL_RANK.fit((), ()) if is_fused else None,  # type: ignore[arg-type]
        protocol.exclude_seen,
        protocol.length,
    )


def _require_same(experiment: Experiment, measured: Experiment, run: RunFolder) -> None:
    """Raise ConfigError if settings differ in more than name, number of users and what of the data
    is held out."""
    left_out = {"name", "limit_users"}
    ours, theirs = (each.model_dump(exclude=left_out) for each in (experiment, measured))
    for each in (ours, theirs):
        for name in _HELD_OUT:
            each["data"].pop(name)
    differing = [name for name in ours if ours[name] != theirs[name]]
    if differing:
        raise ConfigError(
            f"{run.path} was measured with other settings ({', '.join(differing)}): its figures "
            "and its fusion are not those of this recommender"
        )


def _bundled(
    experiment: Experiment,
    folder: RunFolder,
    served: _Served,
    out: Path,
    *,
    inputs: dict[str, str],
) -> Artifact:
    """The bundle of parts that lie in a run folder. inputs: of what joins them."""
    index_settings = index_of(experiment, protocol_of(experiment))
    _require_portable(index_settings)
    sources = _sources(experiment, folder, served, index_settings)
    for part in served.rankers:
        part.require_same(sources)
    config = _config(experiment, served, folder)
    with _whole_model(folder, served) as model, _index_of(folder, index_settings) as index:
        contents = _contents(sources, served, model, index)
        bound = {**inputs, **_fingerprints(sources, served, contents, folder)}
        recipe = Recipe(KIND, config.to_json(), bound)
        return recipe.make(out, partial(write_bundle, contents=contents))


def _sources(
    experiment: Experiment, folder: RunFolder, served: _Served, index_settings: IndexSettings
) -> RankerSources:
    return RankerSources(
        Dataset.load(folder.data),
        protocol_of(experiment).title_style,
        index_settings=index_settings,
        vectors=folder.vectors,
        encoder=experiment.rankers.encoder,
        trained={part.spec.name: folder.trained(part.spec.name) for part in served.rankers},
    )


def _config(experiment: Experiment, served: _Served, folder: RunFolder) -> BundleConfig:
    encoder = experiment.rankers.encoder if served.reads_vectors else None
    return BundleConfig(
        name=experiment.name,
        titles=protocol_of(experiment).title_style,
        encoder=encoder if encoder in PRESETS else None,
        exclude_seen=served.exclude_seen,
        length=served.length,
        fusion=served.rule,
        model=served.model and _that_reads(served.model, folder),
        rankers=tuple(
            RankerPart(
                name=part.spec.name,
                settings=part.settings.model_dump(mode="json"),
                length=part.length,
            )
            for part in served.rankers
        ),
    )


def _that_reads(model: ModelPart, folder: RunFolder) -> ModelPart:
    """The language model's part, which says whether the model of a run folder reads a wish."""
    from gloss.language.loading import template_of

    return model.model_copy(update={"reads_wish": template_of(folder.model).wish is not None})


def _contents(
    sources: RankerSources, served: _Served, model: Artifact | None, index: Artifact
) -> Contents:
    counting = [part for part in served.rankers if part.spec.count]
    return Contents(
        catalogue=sources.catalogue,
        times_bought=sources.dataset.times_bought(),
        index=index,
        model=model,
        fusion=served.fusion,
        title_vectors=sources.title_vectors if served.reads_vectors else None,
        counts={part.spec.name: sources.counts(part.spec, part.settings) for part in counting},
        trained={part.spec.name: sources.trained(part.spec) for part in served.trained},
        last_purchase=sources.dataset.last_purchase(),
    )


def _fingerprints(
    sources: RankerSources, served: _Served, contents: Contents, folder: RunFolder
) -> dict[str, str]:
    """Of everything that the bundle is made of; where any of it is another, so is the bundle."""
    found = sources.fingerprints({"title-vectors"} if served.reads_vectors else ())
    found |= {name: trained.fingerprint for name, trained in contents.trained.items()}
    found["index"] = contents.index.fingerprint
    if contents.model:
        found["model"] = contents.model.fingerprint
    if served.reads_vectors:
        found["encoder"] = open_artifact(folder.vectors, INDEX_KIND).inputs["encoder"]
    return found


def _require_portable(index: IndexSettings) -> None:
    """Raise ConfigError for what would lead out of the bundle."""
    encoder = getattr(index, "encoder", None)
    if encoder is not None and encoder not in PRESETS:
        raise ConfigError(
            f"the index searches with the encoder in {encoder}, and a bundle holds no path to "
            f"another folder: choose one that has a name ({', '.join(PRESETS)})"
        )
    address = getattr(index, "address", None)
    if address is not None and "://" not in address:
        raise ConfigError(
            f"the index keeps its vectors in the folder {address}, and a bundle holds no path to "
            "another folder: give it the address of a Milvus server (http://HOST:19530)"
        )


@contextmanager
def _whole_model(folder: RunFolder, served: _Served) -> Iterator[Artifact | None]:
    """The language model; an adapter is merged with its base first."""
    if served.model is None:
        yield None
        return
    from gloss.language.loading import base_of

    if base_of(folder.model) is None:
        yield open_artifact(folder.model, MODEL_KIND)
        return
    with TemporaryDirectory(prefix="gloss-", dir=folder.path) as merged:
        yield stages.merge(folder.model, Path(merged) / "model")


@contextmanager
def _index_of(folder: RunFolder, settings: IndexSettings) -> Iterator[Artifact]:
    """The index of the whole catalogue: the run's own, or one that is made for the moment where
    the run has none, or its items were changed."""
    if (folder.index / MANIFEST).is_file():
        index = open_artifact(folder.index, INDEX_KIND)
        if "index" not in index.inputs and index.config == settings.model_dump(mode="json"):
            yield index
            return
    with TemporaryDirectory(prefix="gloss-") as made:
        yield stages.index(folder.data, Path(made) / "index", settings=settings)
