"""Models from and to a hub, through its own client: safetensors only, no pickle, no code.

The token comes from the environment (HF_TOKEN) and from nowhere else; HF_ENDPOINT names another
hub. What is pulled is an artefact of the kind "base": every file sealed, the commit recorded.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from gloss.artifacts import Artifact, Recipe, open_artifact
from gloss.errors import InputError, UsageError
from gloss.language.quiet import quiet_hub
from gloss.progress import Progress, silent

__all__ = [
    "BASE_KIND",
    "MODELS",
    "SAFE",
    "Plan",
    "cached",
    "fetch",
    "files_wanted",
    "plan_pull",
    "pull",
    "push",
    "pushed_files",
]

BASE_KIND = "base"
_SECONDS_TO_ANSWER = 20.0
"""In which the hub must answer before anything is fetched from it."""
MODELS = Path("models")
"""Where `gloss models pull` puts ORG/NAME, seen from where the command runs."""
SAFE = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "adapter_config.json",
    "prompt.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "README.md",
    "LICENSE*",
)
"""What is fetched of a repository; everything else, pickles and code above all, stays there."""
_WHICH_FILES: dict[str, Any] = {"allow_patterns": list(SAFE), "ignore_patterns": ["*/*"]}


@dataclass(frozen=True, slots=True)
class Plan:
    """What a pull will fetch. revision: the commit; sizes: bytes of each file."""

    name: str
    revision: str
    sizes: dict[str, int]

    @property
    def bytes(self) -> int:
        """Bytes of all files together."""
        return sum(self.sizes.values())


def plan_pull(name: str, revision: str | None = None) -> Plan:
    """Ask the hub what a model consists of.

    Raises InputError if it does not answer, does not know the model, or has no safetensors of it.
    """
    with _errors_in_one_line(f"{name} cannot be found on the hub", advice=files_wanted(name)):
        info = _api().model_info(
            name, revision=revision, files_metadata=True, timeout=_SECONDS_TO_ANSWER
        )
    sizes = {
        file.rfilename: int(file.size or 0)
        for file in info.siblings or ()
        if _is_among(SAFE, file.rfilename)
    }
    if not any(file.endswith(".safetensors") for file in sizes):
        raise InputError(f"{name} has no weights as safetensors; other formats are not fetched")
    return Plan(name, str(info.sha), dict(sorted(sizes.items())))


def files_wanted(name: str) -> str:
    """What can be done without the hub."""
    return (
        "put its config.json, *.safetensors (with model.safetensors.index.json if there is one), "
        f"tokenizer.json and tokenizer_config.json into {MODELS / name}, or name the folder that "
        "holds them as the base"
    )


def pull(plan: Plan, out: Path, *, progress: Progress = silent) -> Artifact:
    """Fetch what was planned into the artefact `out`; what an interrupted pull got is kept."""
    from huggingface_hub import hf_hub_download

    config = {"name": plan.name, "revision": plan.revision}
    with Recipe(BASE_KIND, config, {}).draft(out, scratch=(".cache",)) as draft:
        done = 0
        for file, size in plan.sizes.items():
            progress(done, plan.bytes, file)
            with quiet_hub(), _errors_in_one_line(f"{file} of {plan.name} cannot be fetched"):
                hf_hub_download(
                    plan.name,
                    file,
                    revision=plan.revision,
                    local_dir=draft.path,
                    token=_token() or False,
                    endpoint=_endpoint(),
                )
            done += size
            progress(done, plan.bytes, file)
        draft.summary.update({"files": len(plan.sizes), "bytes": plan.bytes, **config})
    return open_artifact(out, BASE_KIND)


def cached(name: str, revision: str | None = None) -> Path | None:
    """The folder of a model in the hub's own cache, if an earlier download left it there."""
    from huggingface_hub import snapshot_download

    try:
        with quiet_hub():
            folder = snapshot_download(
                name, revision=revision, local_files_only=True, **_WHICH_FILES
            )
    except Exception:  # the client has a dozen words for "not there"
        return None
    return Path(folder)


def fetch(name: str, revision: str | None = None, *, progress: Progress = silent) -> Path:
    """Download a model into the hub's cache; the folder, whose name is the commit."""
    from huggingface_hub import snapshot_download

    plan = plan_pull(name, revision)  # refuses what has no safetensors
    progress(0, plan.bytes, f"fetching {name}, {plan.bytes / 1e6:,.1f} MB")
    with quiet_hub(), _errors_in_one_line(f"{name} cannot be fetched"):
        return Path(
            snapshot_download(
                name,
                revision=revision,
                **_WHICH_FILES,
                token=_token() or False,
                endpoint=_endpoint(),
            )
        )


def push(folder: Path, repository: str, *, private: bool = True) -> str:
    """Upload a model folder to ORG/NAME, which is made if need be; returns the commit's address.

    Raises UsageError without HF_TOKEN in the environment, InputError for a folder that holds no
    model or if the hub refuses.
    """
    token = _token()
    if token is None:
        raise UsageError("pushing needs a token in the environment: HF_TOKEN")
    files = pushed_files(folder)
    api = _api()
    with quiet_hub(), _errors_in_one_line(f"{folder} cannot be pushed to {repository}"):
        api.create_repo(repository, private=private, exist_ok=True)
        commit = api.upload_folder(
            folder_path=folder,
            repo_id=repository,
            allow_patterns=list(files),
            commit_message="Upload by gloss models push",
        )
    return str(commit.commit_url)


def pushed_files(folder: Path) -> dict[str, int]:
    """What `push` would upload, and its bytes; InputError for a folder that holds no model."""
    files = {
        file.relative_to(folder).as_posix(): file
        for file in sorted([*folder.glob("*"), *folder.glob("*/*")])
        if file.is_file()
    }
    sizes = {name: file.stat().st_size for name, file in files.items() if _is_among(_PUSHED, name)}
    if not any(name.endswith(".safetensors") for name in sizes):
        raise InputError(f"{folder} holds no model: it has no safetensors")
    return sizes


_PUSHED = (*SAFE, "manifest.json", "losses.jsonl", "losses-*.jsonl")


def _is_among(patterns: Sequence[str], name: str) -> bool:
    """Whether a file at the top, or of a further network (loading.py), has such a name."""
    folder, _, file = name.rpartition("/")
    is_in_place = re.fullmatch(r"(network-\d+)?", folder) is not None
    return is_in_place and any(fnmatch(file, each) for each in patterns)


def _api() -> Any:
    from huggingface_hub import HfApi

    return HfApi(endpoint=_endpoint(), token=_token() or False)


def _token() -> str | None:
    return os.environ.get("HF_TOKEN") or None


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None


@contextmanager
def _errors_in_one_line(what: str, *, advice: str = "") -> Iterator[None]:
    """The client's errors as one line of ours."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the disk: whoever writes the artefact reports it
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise InputError(f"{what}: {reason}{f'; {advice}' if advice else ''}") from error
