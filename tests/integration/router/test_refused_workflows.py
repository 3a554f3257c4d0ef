"""Does one workflow that cannot be served leave all others alone, in a process as it is started?"""

import json
import shutil
from functools import partial
from pathlib import Path

from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

from hitl.servers.home import ServiceState
from hitl.stack.fleet import look
from shared.messaging.connection import declare_all
from shared.topology import topology
from tests.support.amqp_client import outsider, until
from tests.support.pipeline import Pipeline, running

LFS_POINTER = (
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db\nsize 90868376\n"
)


def checkpoint(folder: Path) -> Path:
    """A small model that nobody has trained, as transformers saves it."""
    folder.mkdir()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film"]
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    shape = BertConfig(
        vocab_size=len(words), hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=8, max_position_embeddings=32, id2label={0: "no", 1: "yes"},
        label2id={"no": 0, "yes": 1},
    )  # fmt: skip
    BertForSequenceClassification(shape).save_pretrained(folder)
    return folder


def workflow(flows: Path, name: str, model: Path) -> None:
    (flows / f"{name}.toml").write_text(
        f'[workflow]\nname = "{name}"\nlabels = ["no", "yes"]\nmodel = "{model}"\n'
    )


def refused_by(pipeline: Pipeline) -> dict[str, str]:
    pid = pipeline.processes["inference"].pid
    return look(ServiceState("inference", pipeline.ports["inference"], pid)).refused


def shows(pipeline: Pipeline, name: str, value: float) -> bool:
    page = pipeline.page("inference", "/metrics")[1]
    return f'hitl_policy_refused{{workflow="{name}"}} {value}' in page.splitlines()


def test_models_that_cannot_be_loaded_leave_the_others_scored_and_are_tried_again(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    # Given a workflow whose weights are what git leaves in place of a large file, sorted between
    # two that are well
    whole, cut = checkpoint(tmp_path / "whole"), tmp_path / "cut"
    shutil.copytree(whole, cut)
    (cut / "model.safetensors").write_text(LFS_POINTER)
    odd = tmp_path / "odd"
    shutil.copytree(whole, odd)
    told = json.loads((odd / "config.json").read_text())
    (odd / "config.json").write_text(json.dumps({**told, "hidden_size": "many"}))
    flows = tmp_path / "flows"
    flows.mkdir()
    for name, model in (("a", whole), ("b-cut", cut), ("c", whole)):
        workflow(flows, name, model)
    declare_all(amqp_url, topology(("a", "b-cut", "c", "d", "e-odd", "f"), (5, 30, 300)))

    def scored(name: str) -> None:
        with outsider(amqp_url) as program:
            program.publish(json.dumps({"text": "good film"}), routing_key=name)
            [message] = program.take("hitl.router", 1)
            assert message.routing_key == f"item.scored.{name}"

    with running(
        amqp_url, database_url, tmp_path, ["inference"], HITL_WORKFLOWS_DIR=str(flows)
    ) as pipeline:
        # I expect the process to be ready, the others scored, and the one named, with its reason.
        scored("a")
        scored("c")
        assert set(refused_by(pipeline)) == {"b-cut"}
        assert refused_by(pipeline)["b-cut"]
        assert shows(pipeline, "b-cut", 1.0)
        # If three more come while it runs, of which the middle one is no model either,
        for name, model in (("d", whole), ("e-odd", odd), ("f", whole)):
            workflow(flows, name, model)
        until(partial(shows, pipeline, "f", 0.0), seconds=60, what="f being served")
        # I expect the same of them;
        scored("d")
        scored("f")
        assert set(refused_by(pipeline)) == {"b-cut", "e-odd"}
        # and the first to be served once its weights have come, without anybody doing anything.
        shutil.copy(whole / "model.safetensors", cut / "model.safetensors")
        until(partial(shows, pipeline, "b-cut", 0.0), seconds=90, what="b-cut being served")
        scored("b-cut")
        assert set(refused_by(pipeline)) == {"e-odd"}
        assert pipeline.log("inference").count("workflow rejected") == 2
