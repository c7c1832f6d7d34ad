"""What an ablation's YAML may say, and what is told of what it may not."""

import pytest
import yaml
from reductions import write_config

from lavis_tldr.ablation.reductions import deciding, reduction_config
from lavis_tldr.ablation.settings import Step, load_ablation
from lavis_tldr.ablation.steps import fill_in, override, step_config
from lavis_tldr.evaluation.retrieval_proxy import ProxyOptions

PROXY = {"val": {"format": "lavis_json", "annotations": "dev.json"}, "similarity_weights": "bert"}


@pytest.fixture
def write(tmp_path):
    base = write_config(tmp_path / "reduce.yaml", {"format": "webdataset", "tars": "a.tar"}, "m.pth", tmp_path / "run")
    default = {"base": str(base), "arms": {"a": {}}, "proxy": PROXY, "output_dir": "out"}

    def written(**content):
        path = tmp_path / "table9.yaml"
        content = {key: value for key, value in {**default, **content}.items() if value is not None}
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return path

    return written


def test_defaults(write):
    found = load_ablation(write())
    assert (found.name, found.title, found.seeds) == ("table9", "table9", (0, 1, 2))
    assert found.report == ("mean_recall", "tr_r1", "ir_r1")
    assert found.proxy.options == ProxyOptions()


def test_references_come_first_and_share_the_overrides(write):
    found = load_ablation(
        write(
            overrides={"run": {"keep_ratio": 0.5}, "run.num_clusters": 9},
            reference={"whole": {"run.keep_ratio": 1.0}},
            arms={"a, 10%": {"run.seed": 5, "model": {"dropout": 0.2}}, "b": None},
            proxy={**PROXY, "num_steps": 7, "learning_rate": "3e-4"},
        )
    )
    assert [(arm.name, arm.slug, arm.is_reference) for arm in found.arms] == [
        ("whole", "whole", True),
        ("a, 10%", "a_10", False),
        ("b", "b", False),
    ]
    whole, a, b = (reduction_config(found, arm, 3) for arm in found.arms)
    assert (whole.run.keep_ratio, a.run.keep_ratio, b.run.num_clusters) == (1.0, 0.5, 9)
    assert a.model.dropout == 0.2 and a.model.arch == "codebook_captioner"
    # The arm's seed is the grid's; images stay, and captions are made once for all.
    assert (a.run.seed, a.run.name, a.run.images, a.run.caption_all) == (3, "table9-a_10-seed3", "in_place", True)
    assert found.proxy.options.num_steps == 7 and found.proxy.options.learning_rate == pytest.approx(3e-4)


def test_options_override_the_file(write):
    path = write(overrides={"run.keep_ratio": 0.5})
    chosen = ["seeds=[4,2]", "overrides.run.num_clusters=7", "proxy.num_steps=9", "output_dir=elsewhere"]
    found = load_ablation(path, chosen)
    assert (found.seeds, str(found.output_dir), found.proxy.options.num_steps) == ((4, 2), "elsewhere", 9)
    run = reduction_config(found, found.arms[0], 4).run
    assert (run.keep_ratio, run.num_clusters) == (0.5, 7)
    with pytest.raises(ValueError, match="--options takes KEY=VALUE, found 'seeds'"):
        load_ablation(path, ["seeds"])
    with pytest.raises(ValueError, match="unknown key 'seed' .did you mean 'seeds'"):
        load_ablation(path, ["seed=3"])


def test_an_arms_own_base_and_steps(write, tmp_path):
    other = write_config(tmp_path / "other.yaml", {"format": "webdataset", "tars": "b.tar"}, "m.pth", tmp_path / "run")
    step = {"cfg_path": "train.yaml", "options": {"run.job_id": "{arm}", "run.seed": 1}}
    found = load_ablation(
        write(
            prepare=[step],
            arms={"a": {"prepare_options": {"run.seed": 2}}, "b": {"base": str(other), "prepare": []}},
        )
    )
    a, b = found.arms
    assert a.prepare == (Step("train.yaml", {"run.job_id": "{arm}", "run.seed": 2}),)
    assert b.prepare == ()
    assert reduction_config(found, b, 0).datasets.tldr_source.source.tars == "b.tar"


def test_places_are_filled_in_and_other_braces_stay():
    places = {"arm": "a", "seed": 2, "build": "run/a/build"}
    value = {"x": ["{build}/y", "{00000..00007}.tar", 3], "z": "{arm}-{seed}"}
    assert fill_in(value, places) == {"x": ["run/a/build/y", "{00000..00007}.tar", 3], "z": "a-2"}


def test_where_a_reduction_lies_does_not_decide_it(write):
    found = load_ablation(write())
    (arm,) = found.arms
    one, other = reduction_config(found, arm, 0), reduction_config(found, arm, 0)
    override(other, {"run.output_dir": "elsewhere", "run.name": "other"}, {})
    assert deciding(one) == deciding(other)
    override(other, {"run.keep_ratio": 0.9}, {})
    assert deciding(one) != deciding(other)


def test_variables_of_the_environment_stay_names(write, monkeypatch):
    monkeypatch.setenv("WHERE", "/somewhere")
    found = load_ablation(write(overrides={"datasets.tldr_source.source.tars": "${oc.env:WHERE}/a.tar"}))
    config = reduction_config(found, found.arms[0], 0)
    assert config.datasets.tldr_source.source.tars == "/somewhere/a.tar"
    assert deciding(config)["datasets"]["tldr_source"]["source"]["tars"] == "${oc.env:WHERE}/a.tar"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"arm": {}}, r"unknown key 'arm' \(did you mean 'arms'"),
        ({"arms": None}, "lacks arms"),
        ({"arms": {}}, "lacks arms"),
        ({"base": None}, "lacks base"),
        ({"seeds": 0}, "seeds is 0; give their number"),
        ({"seeds": []}, "seeds is "),
        ({"seeds": [1, 1]}, "has one twice"),
        ({"arms": {"a": {"rnu.selection": "random"}}}, r"arm 'a' overrides 'rnu.selection'; write run.KEY"),
        ({"arms": {"a": 3}}, "arm 'a' is 3; it should be a mapping"),
        ({"proxy": {**PROXY, "steps": 3}}, r"unknown key 'steps' \(did you mean 'num_steps'"),
        ({"proxy": {"val": PROXY["val"]}}, "needs similarity_weights"),
        ({"proxy": None}, "needs either proxy or evaluate"),
        ({"evaluate": [{"cfg_path": "a.yaml"}]}, "needs either proxy or evaluate"),
        ({"proxy": None, "evaluate": [{"cfg_path": "a.yaml"}]}, "evaluate needs metrics"),
        ({"proxy": None, "evaluate": {"cfg_path": "a.yaml"}, "metrics": {"m": {"file": "f", "key": "k"}}}, "a list of"),
        ({"proxy": None, "evaluate": [{}], "metrics": {"m": {"file": "f", "key": "k"}}}, "lacks cfg_path"),
        ({"proxy": None, "evaluate": [{"cfg_path": "a"}], "metrics": {"m": {"file": "f"}}}, r"metrics\.m needs file"),
        ({"metrics": {"m": {"file": "f", "key": "k"}}}, "metrics belong to evaluate"),
        ({"report": ["mean_recal"]}, r"'mean_recal', which is unknown \(did you mean 'mean_recall'"),
        ({"plot": {"y": "run.seed"}}, "unknown key 'y'"),
    ],
)
def test_what_is_wrong_is_told(write, content, told):
    with pytest.raises(ValueError, match=told):
        load_ablation(write(**content))


def test_an_unknown_key_of_a_reduction_is_refused_before_any_arm_runs(write):
    from lavis_tldr.ablation.plan import Plan

    ablation = load_ablation(write(arms={"a": {"run.keep_ration": 0.5}}))
    with pytest.raises(ValueError, match=r"table9, arm 'a': .*keep_ration \(did you mean 'keep_ratio'"):
        Plan(ablation)


def test_a_base_that_is_no_reduction_is_refused(write):
    found = load_ablation(write(overrides={"run.task": "tldr_score"}))
    with pytest.raises(ValueError, match="has run.task tldr_score; an arm is a reduction"):
        reduction_config(found, found.arms[0], 0)


def test_a_steps_config_is_its_file_with_the_options_on_top(write, tmp_path):
    write()
    config = step_config(Step(str(tmp_path / "reduce.yaml"), {"run.seed": "{seed}"}), {"seed": 8})
    with pytest.raises(FileNotFoundError):
        step_config(Step("nowhere.yaml"), {})
    assert str(config.run.seed) == "8" and config.run.task == "tldr_reduce"
