"""What do several labels, or spans, of a text cost through the whole pipeline, beside one label?

MiniLM's encoder under three heads, one workflow of each, all in the same services; the same texts
go through them in turns. The heads have random weights: what is answered does not matter here.
"""

import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import torch
from rich.console import Console

from benchmarks.harness import Spread, ratio, ratios, servers
from benchmarks.inference import saved
from benchmarks.pipeline import Line, stack
from benchmarks.report import Report, Table, options, publish
from shared.models.minilm import base_tokenizer
from shared.models.pretrained import base_network, base_tagger
from shared.storage.migration import migrate

ROUNDS, QUICK_ROUNDS = 9, 2
ITEMS_A_ROUND, QUICK_ITEMS = 1_500, 300
TOPICS = ("sport", "politics", "money", "film", "weather", "health")
TAGS = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG")
TAGGED = 0.1  # of the tokens: about what names are of a text
AIM = 1.15  # times what a label costs
_SAMPLE = "the sound is so bad that we left after an hour, it does what it says."
_KINDS = {
    "label": f"labels = {list(TOPICS)}",
    "labels": f'answer = "labels"\nlabels = {list(TOPICS)}',
    "spans": 'answer = "spans"\nlabels = ["PER", "ORG"]',
}


def models(folder: Path) -> dict[str, Path]:
    """A checkpoint for each kind of answer, of one encoder."""
    torch.manual_seed(1)
    one, several, tagger = (
        base_network(len(TOPICS)),
        base_network(len(TOPICS)),
        base_tagger(len(TAGS)),
    )
    several.config.problem_type = "multi_label_classification"
    ids = torch.tensor([base_tokenizer().encode(_SAMPLE).ids])
    tagger.train(False)
    with torch.inference_mode():
        logits = tagger(ids).logits[0]
        margins = logits[:, 1:].max(dim=1).values - logits[:, 0]
        tagger.classifier.bias[0] += margins.quantile(1 - TAGGED)
    return {
        "label": saved(one, folder / "label", TOPICS),
        "labels": saved(several, folder / "labels", TOPICS),
        "spans": saved(tagger, folder / "spans", TAGS),
    }


def measure(say: Console, *, quick: bool) -> Report:
    """Rounds in which each kind has its turn."""
    rounds, count = (QUICK_ROUNDS, QUICK_ITEMS) if quick else (ROUNDS, ITEMS_A_ROUND)
    speeds: dict[str, list[float]] = defaultdict(list)
    with (
        tempfile.TemporaryDirectory() as name,
        servers(database=True) as running,
        ExitStack() as held,
    ):
        folder = Path(name)
        for kind, model in models(folder).items():
            (folder / f"{kind}.toml").write_text(
                f'[workflow]\nname = "{kind}"\n{_KINDS[kind]}\nmodel = "{model}"\n'
                "[policy]\nthreshold = 0.7\n"
            )
        migrate(running.database_url)
        lines = {kind: held.enter_context(closing(Line(running.amqp_url, kind))) for kind in _KINDS}
        held.enter_context(stack(running, *lines.values(), HITL_WORKFLOWS_DIR=str(folder)))
        for number in range(rounds):
            order = list(lines)[number % 3 :] + list(lines)[: number % 3]
            for kind in order:
                speeds[kind].append(lines[kind].items_per_second(count))
            told = ", ".join(f"{kind} {speeds[kind][-1]:.0f}" for kind in lines)
            say.print(f"round {number + 1} of {rounds}, items/s: {told}")
    return _report(speeds)


def _report(speeds: Mapping[str, Sequence[float]]) -> Report:
    costs = {kind: ratio(speeds["label"], speeds[kind]) for kind in ("labels", "spans")}
    rows = [
        (kind, str(Spread.of(found)), str(costs.get(kind, ""))) for kind, found in speeds.items()
    ]
    return Report(
        name="answers",
        title="Kinds of answers",
        text="MiniLM's encoder with a head for one of six labels, several of six, and tags; "
        "about a tenth of the words is tagged. One inference process per core, router, logger and "
        f"review service; texts of 5 to 60 words. The aim is {AIM} times the cost of one label.",
        tables=[Table(("answer", "items/s", "times the cost of one label"), rows)],
        result={
            name: value
            for kind, cost in costs.items()
            for name, value in ratios(f"cost_of_{kind}", cost).items()
        },
    )


if __name__ == "__main__":
    given = options("answers", __doc__)
    publish(measure(Console(quiet=given.json), quick=given.quick), given)
