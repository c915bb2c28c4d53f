from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest
import yaml

from gloss.config import Decoding, LoraModel, LoraTraining, Training
from gloss.errors import ConfigError, UsageError
from gloss.experiment.fields import sections
from gloss.experiment.loading import load_experiment, with_overrides
from gloss.experiment.settings import Experiment

SHOP = {"name": "demo", "data": {"source": "shop"}}


def wrong(*overrides: str, settings=SHOP) -> str:
    """The message of the error that these settings are."""
    with pytest.raises(ConfigError) as caught:
        with_overrides(settings, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_not_set_is_the_default():
    assert with_overrides(SHOP, []) == Experiment.model_validate(SHOP)


def test_the_command_line_comes_before_the_file(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump({**SHOP, "training": {"epochs": 3, "clip": 2.0}}))
    read = load_experiment(path, ["training.epochs=4", "decoding.mode=free"])
    assert (read.training.epochs, read.training.clip, read.decoding.mode) == (4, 2.0, "free")


def test_overrides_leave_the_settings_given_as_they_were():
    settings = {**SHOP, "training": {"epochs": 3}}
    with_overrides(settings, ["training.epochs=4", "model.width=64"])
    assert settings == {**SHOP, "training": {"epochs": 3}}


def test_an_override_is_read_as_yaml():
    read = with_overrides(SHOP, ["ranking.cutoffs=[1, 7]", "training.learning_rate=1e-4"])
    assert (read.ranking.cutoffs, read.training.learning_rate) == ((1, 7), 1e-4)


def test_settings_survive_yaml(tmp_path):
    path = tmp_path / "a.yaml"
    made = with_overrides(SHOP, ["ranking.segments=[5, 14]", "limit_users=7", "model.mlp_width=9"])
    path.write_text(yaml.safe_dump(made.model_dump(mode="json")))
    assert load_experiment(path) == made


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("trainning.epochs=3", "unknown setting trainning (did you mean training?)"),
        ("training.epoch=3", "unknown setting training.epoch (did you mean epochs?)"),
        ("data.usres=3", "unknown setting data.usres (did you mean users?)"),
        ("decoding.beam=3", "unknown setting decoding.beam (did you mean beams?)"),
        ("ranking.fuse=3", "unknown setting ranking.fuse (did you mean fusion?)"),
        ("model.zzz=3", "unknown setting model.zzz (known: recipe, vocabulary, layers"),
    ],
)
def test_an_unknown_setting_is_named_with_its_nearest(override, said):
    assert said in wrong(override)


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("training.epochs=0", "training.epochs"),
        ("training.epochs=many", "training.epochs"),
        ("training.learning_rate=-1", "training.learning_rate"),
        ("training.learning_rate=.inf", "training.learning_rate"),
        ("training.learning_rate=.nan", "training.learning_rate"),
        ("training.dropout=1", "training.dropout"),
        ("decoding.length_penalty=.nan", "decoding.length_penalty"),
        ("decoding.mode=fast", "decoding.mode"),
        ("decoding.returned=11", "returned (11) cannot exceed beams (10)"),
        ("ranking.fusion=sum", "ranking.fusion"),
        ("ranking.cutoffs=[0]", "ranking.cutoffs"),
        ("protocol=both", "protocol"),
        ("data.source=films", "data"),
        ("data.users=0", "data.users"),
        ("data=shop", "data"),
        ("name=", "name"),
        ("name=''", "name: must be 1 to 100 printable characters"),
        ("name=a/b", "name: must be 1 to 100 printable characters"),
        ("name=..", "name: must be 1 to 100 printable characters"),
        ('name="\\e[2J"', "name: must be 1 to 100 printable characters"),
        ("seed=-1", "seed"),
        ("seed=9999999999999999999", "seed"),
        ("data.seed=-1", "data.seed"),
        ("limit_users=0", "limit_users"),
        ("model.width=100", "width (100) must be a multiple of 2 x heads (8)"),
        ("epochs", "override 'epochs' is not section.key=value"),
        ("=3", "override '=3' is not section.key=value"),
        ("name.first=a", "override 'name.first=a': name is not a section"),
        ("training.epochs=[", "override 'training.epochs=[' is not YAML"),
    ],
)
def test_an_impossible_setting_is_named(override, named):
    assert named in wrong(override)


@pytest.mark.parametrize(
    "override",
    [
        "model.vocabulary=2147483647",
        "model.layers=65536",
        "model.width=1000000",
        "model.heads=65536",
        "model.networks=9223372036854775808",
        "model.context=9223372036854775808",
        "training.epochs=1000000000",
        "training.batch_tokens=1e300",
        "training.learning_rate=1e12",
        "training.validation_users=4294967296",
        "decoding.beams=1000000",
        "decoding.max_new_tokens=1000000000",
        "decoding.length_penalty=1e9",
        "decoding.shard_users=9223372036854775808",
        "ranking.length=1000000000",
        "ranking.cutoffs=[1000000000]",
        "ranking.per_query=1000000000",
    ],
)
def test_a_setting_beyond_all_use_is_refused(override):
    name = override.partition("=")[0]
    assert re.search(rf"{re.escape(name)}(\.0)?: Input should be (less|a valid)", wrong(override))


ELSEWHERE = ("data", "index")  # their settings are still without bounds
SETTINGS = [
    (section, name)
    for section in sections(Experiment)
    if not set(section.path) & set(ELSEWHERE)
    for name in section.settings
]
SETTING_IDS = [".".join((*section.location, name)) for section, name in SETTINGS]


def numbers(described: object) -> Iterator[dict[str, object]]:
    """Every number in the JSON schema of a setting."""
    if isinstance(described, list):
        for each in described:
            yield from numbers(each)
    elif isinstance(described, dict):
        if described.get("type") in ("integer", "number"):
            yield described
        for key in ("anyOf", "items", "prefixItems"):
            yield from numbers(described.get(key))


@pytest.mark.parametrize(("section", "name"), SETTINGS, ids=SETTING_IDS)
def test_every_number_has_a_highest_value(section, name):
    described = section.model.model_json_schema()["properties"][name]
    assert [n for n in numbers(described) if not {"maximum", "exclusiveMaximum"} & set(n)] == []


@pytest.mark.parametrize(("section", "name"), SETTINGS, ids=SETTING_IDS)
def test_every_setting_is_described(section, name):
    assert (section.model.model_fields[name].description or "").endswith((".", "…"))


@pytest.mark.parametrize(
    ("override", "now"),
    [
        ("signals.use=[sasrec]", "rankers"),
        ("rankers.tuning.epochs=3", "rankers.dual_encoder"),
        ("rankers.two_step.recent=3", "rankers.second_order_transitions"),
        ("rankers.fusion=trees", "fusion.rule"),
        ("rankers.validation_users=9", "fusion.validation_users"),
        ("rankers.shifted_run=true", "fusion.shifted_run"),
        ("rankers.rehearsal=true", "fusion.shifted_run"),
        ("training.agreement=1", "training.r_drop"),
        ("rankers.sasrec.emphasis=0", "history_length_power"),
        ("rankers.dual_encoder.own_rate=0", "residual_learning_rate"),
    ],
)
def test_an_old_name_is_answered_with_the_new_one(override, now):
    name = re.sub(r"\.(use|epochs|recent)=.*|=.*", "", override)
    assert f"unknown setting {name} (it is now called {now})" in wrong(override)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("rankers.use=[tuned, none]", "(tuned is now called dual-encoder)"),
        ("rankers.use=[two-step]", "(two-step is now called second-order-transitions)"),
        ("fusion.rule=rank", "(rank is now called reciprocal-rank)"),
    ],
)
def test_an_old_name_of_a_ranker_is_answered_with_the_new_one(override, said):
    assert said in wrong(override)


def test_all_that_is_wrong_is_said_at_once():
    said = wrong("training.epochs=0", "model.layer=2")
    assert "training.epochs" in said
    assert "model.layer" in said


def test_what_is_missing_is_named():
    assert "name" in wrong(settings={"data": {"source": "shop"}})
    assert "data" in wrong(settings={"name": "a"})
    assert "data.category" in wrong(settings={"name": "a", "data": {"source": "amazon"}})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "holds no settings"),
        (b"- a\n- b\n", "holds no settings"),
        (b"a: [", "is not YAML"),
        (b"name: \xff", "cannot be read"),
        (b"name: a\x00b", "is not YAML"),
        (b"1: 2\n", "name"),
        (b"name: a\nname: b\ndata: {source: shop}\n", "is not YAML: name stands there twice"),
        (b"!!python/object/apply:os.system ['true']\n", "is not YAML"),
        (b"name: 2024-13-45\n", "is not YAML: '2024-13-45' is not of the type timestamp"),
        (b"name: 0x_\n", "is not YAML: '0x_' is not of the type int"),
        (b"name: !!int abc\n", "is not YAML: 'abc' is not of the type int"),
        (b"name: !!bool abc\n", "is not YAML: 'abc' is not of the type bool"),
        (b"name: !!timestamp abc\n", "is not YAML: 'abc' is not of the type timestamp"),
        (b"name: " + b"9" * 5000, "is not of the type int"),
        (b"? [a]\n: b\n", "is not YAML"),
        (b"name: &a [*a]\n", "an alias (*name) is not supported"),
        (b"name: &a {b: *a}\n", "an alias (*name) is not supported"),
        (b"a: " + b"[" * 3000, "is nested too deeply"),
        (b"a: " + b"{a: " * 20 + b"}" * 20, "sections are nested too deeply"),
        (b'name: "a\\0b"\n', "holds a character that no name or path can hold"),
        (b'name: "\\ud800"\n', "holds a character that no name or path can hold"),
        (b"name: a" + b" " * 2**18, "holds no settings: it has 262,151 bytes"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_file_that_holds_no_settings_is_named(tmp_path, content, said):
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_experiment(path)
    assert str(path) in str(caught.value)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml does not exist"):
        load_experiment(tmp_path / "nowhere.yaml")


def test_what_never_ends_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", tmp_path):
        with pytest.raises(ConfigError, match=f"{path} cannot be read: it is not a file"):
            load_experiment(path)


def test_wrong_settings_are_a_wrong_call():
    assert issubclass(ConfigError, UsageError)
    assert ConfigError("").exit_code == 2


def test_every_config_of_the_repository_is_whole(pytestconfig):
    configs = sorted((pytestconfig.rootpath / "configs").glob("*.yaml"))
    demo = pytestconfig.rootpath / "src/gloss/cli/demo.yaml"
    for path in (demo, *configs):
        assert load_experiment(path).name


LORA = {**SHOP, "model": {"recipe": "lora", "base": "unsloth/Llama-3.2-1B"}}


def test_the_models_recipe_says_what_training_holds():
    assert isinstance(with_overrides(LORA, []).training, LoraTraining)
    assert isinstance(with_overrides(SHOP, []).training, Training)
    assert with_overrides(LORA, ["training.batch=2"]).training.batch == 2


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("training.batch_tokens=9", "unknown setting training.batch_tokens"),
        ("training.loss=all", "unknown setting training.loss (did you mean loss_on?)"),
        ("model.vocabulary=9", "unknown setting model.vocabulary (known: recipe, base, revision"),
        ("model.rnk=9", "unknown setting model.rnk (did you mean rank?)"),
        ("model.recipe=lore", "model: recipe must be 'scratch' or 'lora'"),
        ("model.recipe=scratch", "unknown setting model.base"),
        ("model.quantization=int8", "model.quantization"),
        ("model.targets=[]", "model.targets"),
        ("training.report_to=[mlflow]", "training.report_to"),
        ("training.recipe=scratch", "for 'scratch', the model's recipe is 'lora'"),
    ],
)
def test_a_setting_of_another_recipe_is_unknown(override, said):
    assert said in wrong(override, settings=LORA)


def test_settings_of_an_adapter_survive_yaml(tmp_path):
    path = tmp_path / "a.yaml"
    made = with_overrides(LORA, ["training.report_to=[trackio]", "model.targets=[q_proj]"])
    path.write_text(yaml.safe_dump(made.model_dump(mode="json")))
    assert load_experiment(path) == made


@pytest.mark.parametrize("category", ["beauty", "toys", "sports"])
@pytest.mark.parametrize("size", ["3.2-1b", "3.2-3b", "3.1-8b"])
def test_published_configs_are_the_published_recipe(pytestconfig, category, size):
    """Rows 7 and 8 of the protocol; our variant takes as many examples a step."""
    folder = pytestconfig.rootpath / "configs"
    chosen = [f"data.category={category}"]
    published = load_experiment(folder / f"llama-{size}.yaml", chosen)
    assert published.name == f"{category}-llama-{size}"
    assert published.training == LoraTraining()
    assert published.model == LoraModel(recipe="lora", base=published.model.base)
    assert (published.seed, published.protocol) == (3407, "paper")
    decoding = {"mode": "free", "beams": 5, "returned": 5, "max_new_tokens": 50}
    assert published.decoding == Decoding(**decoding, length_penalty=1.0, cut="left")
    ours = load_experiment(folder / f"llama-{size}-fast.yaml", chosen)
    assert ours.name == f"{category}-llama-{size}-fast"
    assert ours.model.base == published.model.base
    assert ours.training.batch * ours.training.accumulation == 4 * 4
    assert ours.data == published.data


def test_a_name_may_hold_other_settings():
    settings = {**SHOP, "name": "{data.source}-of-{data.users}"}
    assert with_overrides(settings, ["data.users=7"]).name == "shop-of-7"
    assert wrong(settings=settings) == "settings: name: data.users is not set"


def test_configs_for_several_gpus_are_accelerates_own(pytestconfig):
    configs = sorted((pytestconfig.rootpath / "configs" / "accelerate").glob("*.yaml"))
    assert [path.stem for path in configs] == ["ddp", "fsdp"]
    load = pytest.importorskip("accelerate.commands.config.config_args").load_config_from_file
    kinds = [load(str(path)).distributed_type.value for path in configs]
    assert kinds == ["MULTI_GPU", "FSDP"]
