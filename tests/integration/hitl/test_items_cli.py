"""Do the commands for items and workflows do what they say, on a real broker?"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shared.events.envelope import encode
from shared.messaging.connection import Broker
from shared.service.settings import Settings
from shared.topology import Topology, topology
from tests.conftest import RabbitMQ
from tests.support.amqp_client import outsider
from tests.support.example_events import ACCEPTED, REVIEWED, SCORED

ROOT = Path(__file__).parents[3]


def environment(amqp_url: str, home: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HITL_")}
    given = {"AMQP_URL": amqp_url} if amqp_url else {}
    kept.pop("AMQP_URL", None)
    return {**kept, **given, "HITL_HOME": str(home), "COLUMNS": "200", "TERM": "dumb"}


def hitl(
    *words: str, amqp_url: str = "", home: Path, stdin: bytes = b"", **more: str
) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        [sys.executable, "-m", "hitl", *words],
        cwd=ROOT,
        env=environment(amqp_url, home) | more,
        input=stdin,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


@contextmanager
def declared_on(amqp_url: str, wanted: Topology) -> Iterator[Broker]:
    """A publisher, with the exchanges and queues there as the services declare them."""
    broker = Broker(amqp_url, name="test", topology=wanted)
    broker.start()
    assert broker.wait_ready(20)
    yield broker
    broker.close()


@pytest.fixture
def broker(amqp_url: str) -> Iterator[Broker]:
    """The same for the workflow that is there without a file."""
    with declared_on(amqp_url, topology(["sentiment"], Settings().retry_delays_seconds)) as broker:
        yield broker


INFERENCE = "hitl.sentiment.inference"


@pytest.mark.usefixtures("broker")
def test_a_named_pipe_is_read_as_a_file_is(amqp_url: str, tmp_path: Path) -> None:
    # Given what `hitl publish <(zcat items.jsonl.gz)` gives: a name that can be read once
    pipe = tmp_path / "items.jsonl"
    os.mkfifo(pipe)
    writer = subprocess.Popen(["sh", "-c", f"echo '{{\"text\": \"a film\"}}' >'{pipe}'"])
    said = hitl("publish", str(pipe), amqp_url=amqp_url, home=tmp_path)
    assert (writer.wait(10), said.returncode) == (0, 0), said.stderr
    assert "1 items published" in said.stderr


@pytest.mark.usefixtures("broker")
def test_the_good_lines_of_a_csv_are_published_and_the_bad_ones_named(
    amqp_url: str, tmp_path: Path
) -> None:
    # Given a file with a multi-line text, a blank text, a line too short and no UTF-8
    file = tmp_path / "reviews.csv"
    file.write_bytes(
        b"\xef\xbb\xbfnr,review,channel\n"
        b'a1,"fine, really\nfine",mail\n'
        b"a2, ,mail\n"
        b"a3\n"
        b"a4,caf\xe9,mail\n"
        b"a5,\xc3\xa9t\xc3\xa9 \xf0\x9f\x98\x80,\n"
    )
    # If I publish it
    done = hitl(
        "publish",
        str(file),
        "--text-column=review",
        "--id-column=nr",
        amqp_url=amqp_url,
        home=tmp_path,
    )
    # I expect two items as a producer would send them
    assert done.returncode == 1
    with outsider(amqp_url) as client:
        first, second = client.take(INFERENCE, 2)
    assert json.loads(first.body) == {
        "id": "a1",
        "text": "fine, really\nfine",
        "metadata": {"channel": "mail"},
    }
    assert json.loads(second.body) == {"id": "a5", "text": "été 😀"}
    assert first.message_id == "a1"
    assert first.persistent
    assert first.headers["traceparent"].startswith("00-")
    # and the lines of the others
    assert "2 items published to sentiment" in done.stderr
    assert "line 4: empty_text" in done.stderr
    assert "line 5: schema: 1 cells where the header has 3" in done.stderr
    assert "line 6: not_utf8" in done.stderr


@pytest.mark.usefixtures("broker")
def test_a_single_item_does_not_wait_for_a_file_of_them(
    rabbitmq: RabbitMQ, amqp_url: str, tmp_path: Path
) -> None:
    # Given a file of items that wait, and some of a client that writes priority 0 on everything
    file = tmp_path / "many.jsonl"
    file.write_text("".join(json.dumps({"id": f"f{n}", "text": "x"}) + "\n" for n in range(200)))
    assert hitl("publish", str(file), amqp_url=amqp_url, home=tmp_path).returncode == 0
    with outsider(amqp_url) as client:
        client.publish('{"id": "zero", "text": "x"}', routing_key="sentiment", priority=0)
        # If somebody sends one, as most clients do
        client.publish('{"id": "one", "text": "x"}', routing_key="sentiment")
        order = [json.loads(each.body)["id"] for each in client.take(INFERENCE, 202)]
    # I expect RabbitMQ 4.3 to hand it out first, and older ones in the order of arrival;
    version = rabbitmq.api.get("/overview").json()["rabbitmq_version"]
    several = tuple(map(int, version.split(".")[:2])) >= (4, 3)
    assert order.index("one") == (0 if several else 201)
    # and the others in theirs: nobody goes before who sent earlier with the same priority
    order.remove("one")
    assert order == [*(f"f{n}" for n in range(200)), "zero"]


@pytest.mark.usefixtures("broker")
def test_json_lines_are_held_to_the_rules_of_producers(amqp_url: str, tmp_path: Path) -> None:
    file = tmp_path / "items.jsonl"
    long_id = "é" * 200  # 400 bytes: too long for an AMQP message id, not for an item
    file.write_text(
        "\n".join(
            [
                json.dumps({"id": long_id, "text": "one", "metadata": {"n": 1}}),
                "",
                "{broken",
                json.dumps({"text": 5}),
                json.dumps({"text": "x", "id": "x" * 201}),
                json.dumps({"text": "two"}),
            ]
        )
    )
    done = hitl("publish", str(file), amqp_url=amqp_url, home=tmp_path)
    assert done.returncode == 1
    for expected in ("line 3: not_json", "line 4: schema: text", "line 5: schema: id"):
        assert expected in done.stderr
    with outsider(amqp_url) as client:
        one, two = client.take(INFERENCE, 2)
    assert json.loads(one.body)["id"] == long_id
    assert json.loads(two.body) == {"text": "two"}
    assert two.message_id  # the id that the item will get


@pytest.mark.usefixtures("broker")
def test_text_from_stdin_is_one_item_a_line_and_the_same_one_again_on_request(
    amqp_url: str, tmp_path: Path
) -> None:
    def send(*options: str) -> list[str | None]:
        text = b"first\n\n  second  \n"
        done = hitl("publish", "-", *options, amqp_url=amqp_url, home=tmp_path, stdin=text)
        assert (done.returncode, done.stdout) == (0, "")
        with outsider(amqp_url) as client:
            received = client.take(INFERENCE, 2)
        assert [json.loads(r.body)["text"] for r in received] == ["first", "second"]
        return [r.message_id for r in received]

    # Given the same lines twice, I expect new items, unless their ids are made of the content
    assert not set(send()) & set(send())
    assert send("--ids-from-content") == send("--ids-from-content")


@pytest.mark.usefixtures("broker")
def test_a_rate_is_kept(amqp_url: str, tmp_path: Path) -> None:
    started = time.monotonic()
    lines = b"".join(b"text %d\n" % number for number in range(60))
    done = hitl("publish", "-", "--rate=30", amqp_url=amqp_url, home=tmp_path, stdin=lines)
    assert done.returncode == 0
    # 60 items at 30 a second, in windows of 3: the last is due after 57/30 s
    assert time.monotonic() - started > 1.9


@pytest.mark.usefixtures("broker")
def test_of_a_file_that_is_no_table_nothing_is_published_and_of_a_stream_it_is_counted(
    amqp_url: str, tmp_path: Path
) -> None:
    # Given 700 rows, of which the 651st begins with a quote by mistake
    rows = [f"{number},text {number}\n" for number in range(700)]
    rows[650] = '650,"never closed\n'
    content = ("id,text\n" + "".join(rows)).encode()
    file = tmp_path / "reviews.csv"
    file.write_bytes(content)
    # If I publish the file, I expect its line, and nothing in the queue
    done = hitl("publish", str(file), amqp_url=amqp_url, home=tmp_path)
    assert done.returncode == 1
    assert done.stderr.lstrip().startswith("line 652: a quote opens here and is never closed")
    assert "published" not in done.stderr
    # and if it comes as a stream, what was published until then, and how to go on
    done = hitl("publish", "-", "--format=csv", amqp_url=amqp_url, home=tmp_path, stdin=content)
    assert done.returncode == 1
    assert "line 652" in done.stderr
    assert "500 items were published; sent again, an item with an id is still one" in done.stderr
    with outsider(amqp_url) as client:
        client.take(INFERENCE, 500)


@pytest.mark.usefixtures("broker")
def test_fields_of_other_tools_become_metadata_and_are_told(amqp_url: str, tmp_path: Path) -> None:
    file = tmp_path / "prodigy.jsonl"
    file.write_text('{"text": "fine", "meta": {"source": "mail"}, "_input_hash": -17}\n')
    done = hitl("publish", str(file), amqp_url=amqp_url, home=tmp_path)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "metadata: meta, _input_hash")
    with outsider(amqp_url) as client:
        (one,) = client.take(INFERENCE, 1)
    assert json.loads(one.body)["metadata"] == {"meta": {"source": "mail"}, "_input_hash": -17}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("publish", "nowhere.csv"), "nowhere.csv: no such file"),
        (("publish", "README.unknown"), "no such file"),
        (("publish", "pyproject.toml"), "unknown format; use --format csv, jsonl, txt, parquet"),
        (("publish", "pyproject.toml", "--format=csv"), "no column 'text' among [build-system]"),
        (("publish", "-", "--workflow=unheard"), "no file for workflow unheard"),
    ],
)
def test_a_publish_that_cannot_be_says_so_in_one_line(
    amqp_url: str, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    done = hitl(*words, amqp_url=amqp_url, home=tmp_path)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [("publish", "-"), ("tail",)])
def test_without_a_stack_the_commands_say_how_to_get_one(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    done = hitl(*command, home=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"no stack is running in {tmp_path}: start one with `hitl up`")


# -- tail --------------------------------------------------------------------------------------


@contextmanager
def tailing(amqp_url: str, home: Path, *options: str) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-m", "hitl", "tail", *options],
        cwd=ROOT,
        env=environment(amqp_url, home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts what runs in its background with Ctrl-C ignored, and that is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert process.stderr is not None
        assert process.stderr.readline() == "following; Ctrl-C ends\n"
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()


def read(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_tail_shows_decisions_and_takes_them_from_nobody(
    amqp_url: str, broker: Broker, tmp_path: Path
) -> None:
    # Given a machine's and a person's decision, an event that is none, and one of another workflow
    elsewhere = ACCEPTED.model_copy(update={"workflow": "topics"})
    events = [SCORED, elsewhere, ACCEPTED, REVIEWED]
    messages = [encode(event, source="test", traceparent="") for event in events]
    # If I follow one workflow in words, one in JSON, and end both with Ctrl-C
    with (
        tailing(amqp_url, tmp_path, "--workflow=sentiment") as people,
        tailing(amqp_url, tmp_path, "--json", "--workflow=sentiment") as programs,
    ):
        broker.publish(messages[:3])
        broker.publish(messages[3:])
        line = read(people)
        assert "positive" in line
        assert "0.75  ai" in line
        assert 'An "unsettling" drama, und ein gutes Ende' in line
        line = read(people)
        assert "negative" in line
        assert "grace" in line
        decided = [json.loads(read(programs)) for _ in range(2)]
        for process in (people, programs):
            process.send_signal(signal.SIGINT)
            rest, said = process.communicate(timeout=10)
            assert (process.returncode, rest, said) == (0, "", "")
    # I expect the events as they are, with their types
    assert [(d["type"], d["decision"]["label"]) for d in decided] == [
        ("item.accepted", "positive"),
        ("item.reviewed", "negative"),
    ]
    # and every message still where its consumer looks for it
    with outsider(amqp_url) as client:
        assert len(client.take("hitl.sentiment.accepted", 2)) == 2


def test_tail_ends_quietly_when_nobody_reads_it_any_more(
    amqp_url: str, broker: Broker, tmp_path: Path
) -> None:
    message = encode(ACCEPTED, source="test", traceparent="")
    with tailing(amqp_url, tmp_path, "--json") as process:
        assert process.stdout is not None
        process.stdout.close()
        broker.publish([message] * 3)
        assert process.wait(10) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_tail_says_when_there_is_nothing_to_follow(amqp_url: str, tmp_path: Path) -> None:
    # Given a broker without our exchanges
    done = hitl("tail", amqp_url=amqp_url, home=tmp_path)
    assert done.returncode == 1
    assert "no exchange 'hitl.events'" in done.stderr


SPANS = (
    '[workflow]\nname = "names"\nanswer = "spans"\nlabels = ["PER", "ORG"]\nmodel = "none"\n'
    "[policy]\nthreshold = 0.9\n"
)


def test_the_tasks_of_another_tool_are_published_with_their_predictions(
    amqp_url: str, tmp_path: Path
) -> None:
    # Given a workflow that asks for spans, and Label Studio's tasks: one predicted and annotated,
    # one with nothing, one of another sort
    (tmp_path / "names.toml").write_text(SPANS)
    declared = topology(["names"], Settings().retry_delays_seconds)
    value = {"start": 2, "end": 7, "text": "Peter", "labels": ["PER"]}
    region = {"from_name": "label", "to_name": "text", "type": "labels", "value": value}
    wrong = region | {"type": "brushlabels"}
    told = {"model_version": "theirs@1", "score": 0.97, "result": [region]}
    data = {"id": "i1", "text": "\U0001f600 Peter", "page": 3}
    tasks = [
        {"id": 1, "data": data, "predictions": [told], "annotations": [{"result": [region]}]},
        {"id": 2, "data": {"id": "i2", "text": "nobody"}},
        {"id": 3, "data": {"id": "i3", "text": "x"}, "annotations": [{"result": [wrong]}]},
    ]
    file = tmp_path / "tasks.json"
    file.write_text(json.dumps(tasks))
    words = ["publish", str(file), "--format=label-studio", "--workflow=names"]
    with declared_on(amqp_url, declared), outsider(amqp_url) as client:
        # If I publish them
        done = hitl(*words, amqp_url=amqp_url, home=tmp_path, HITL_WORKFLOWS_DIR=str(tmp_path))
        first, second = client.take("hitl.names.inference", 2)
        # I expect the items as a producer sends them, and to be told what was not sent
        answer = {"spans": [{"start": 2, "end": 7, "label": "PER"}]}
        item = {"id": "i1", "text": "\U0001f600 Peter", "metadata": {"page": 3}}
        prediction = {"answer": answer, "confidence": 0.97, "model_version": "theirs@1"}
        assert json.loads(first.body) == item | {"prediction": prediction}
        assert json.loads(second.body) == {"id": "i2", "text": "nobody"}
        assert done.returncode == 1
        assert "in the file, and not sent: 1 answers of people" in done.stderr
        reason = "task 3: schema: annotations[0].result[0]: 'brushlabels' is no part of a spans"
        assert reason in done.stderr
        # and if asked to, the answer in the place of the prediction.
        words.append("--answers-as=label-studio")
        hitl(*words, amqp_url=amqp_url, home=tmp_path, HITL_WORKFLOWS_DIR=str(tmp_path))
        sent = json.loads(client.take("hitl.names.inference", 2)[0].body)["prediction"]
        assert sent == {"answer": answer, "confidence": 1.0, "model_version": "label-studio"}


# -- workflow ----------------------------------------------------------------------------------

GOOD = '[workflow]\nname = "good"\nlabels = ["a", "b"]\n[policy]\nthreshold = 0.5\n'


def test_check_names_every_problem_of_every_file(tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text(GOOD)
    (tmp_path / "bad.toml").write_text(
        '[workflow]\nname = "bad"\nlabels = ["a"]\n[policy]\nthreshold = 2\nalways_review = ["b"]\n'
    )
    done = hitl(
        "workflow", "check", str(tmp_path / "good.toml"), str(tmp_path / "bad.toml"), home=tmp_path
    )
    assert done.returncode == 1
    assert f"{tmp_path / 'good.toml'}: valid; policy " in done.stdout
    assert done.stderr.splitlines() == [
        f"{tmp_path / 'bad.toml'}: threshold: Input should be less than or equal to 1, not 2",
        f"{tmp_path / 'bad.toml'}: always_review.0: the workflow has no label 'b'; it has a",
    ]


def test_check_without_a_name_checks_what_we_ship(tmp_path: Path) -> None:
    # I expect it to say as well what takes effect at once, and what waits.
    done = hitl("workflow", "check", home=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "a changed model or changed labels" in done.stdout
    assert "sentiment.toml: valid" in done.stdout
    assert "The models were not loaded" in done.stdout


def test_check_loads_the_model_that_the_worker_would_load(tmp_path: Path) -> None:
    # Given a workflow whose model is half an adapter, and one with the embedded model
    half = tmp_path / "half"
    half.mkdir()
    (half / "adapter_config.json").write_text("{}")
    flow = f'[workflow]\nname = "broken"\nlabels = ["a", "b"]\nmodel = "{half}"\n'
    (tmp_path / "broken.toml").write_text(flow + "[policy]\nthreshold = 0.5\n")
    good = tmp_path / "good.toml"
    good.write_text('[workflow]\nname = "good"\n[policy]\nthreshold = 0.5\n')
    # If both are checked with --load
    broken = hitl("workflow", "check", "--load", str(tmp_path / "broken.toml"), home=tmp_path)
    whole = hitl("workflow", "check", "--load", str(good), home=tmp_path)
    # I expect the reason of the one, and the version and labels of the other
    assert broken.returncode == 1
    assert "its model cannot be served" in broken.stderr
    assert str(half) in broken.stderr
    assert whole.returncode == 0
    assert "loaded embedded@" in whole.stdout
    assert "labels negative, positive" in whole.stdout


def test_the_diagram_shows_the_queues_the_rules_and_the_threshold(tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text(
        GOOD + '[[policy.rules]]\nname = "short"\nwhen = { max_characters = 9 }\nthen = "accept"\n'
    )
    done = hitl("workflow", "diagram", str(tmp_path / "good.toml"), home=tmp_path)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "flowchart LR"
    for expected in (
        'hitl_items -->|"good"| queue_hitl_good_inference',
        'queue_hitl_good_review[("hitl.good.review")] --> review_ui["review UI: people"]',
        'step2{"short: characters at most 9?"} -->|yes| accept',
        'step3{"confidence at least 0.5?"} -->|yes| accept',
    ):
        assert f"    {expected}" in lines or f"        {expected}" in lines
