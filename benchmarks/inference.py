"""How many texts a second, and how long does one wait, against what transformers' manual shows?

The embedded model, and one of DistilBERT's size with random weights (none can be downloaded
everywhere): on short texts and on a mix with some long ones. Everybody has the whole machine in
turns; answers are compared with those of transformers.
"""

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from safetensors.torch import load_file
from transformers import DistilBertConfig, DistilBertForSequenceClassification, PreTrainedModel

from benchmarks.harness import ROOT, Spread, quantile, ratio, ratios, short
from benchmarks.peers.install import infinity_python
from benchmarks.report import Bars, Report, Table, options, publish
from hitl.servers.home import Home
from services.feedback.training import rated_texts
from services.inference import embedded
from services.inference.classifier import load
from services.inference.packed import Linear, Packed, bf16_is_fast
from services.inference.precision import Evidence
from services.inference.proving import Proof
from shared.models.minilm import base_folder, base_tokenizer, base_weights
from shared.models.pretrained import base_network

ROUNDS, QUICK_ROUNDS = 5, 1
TEXTS, QUICK_TEXTS = 256, 64
LOADS = (0.5, 0.8)
AIMS = {"vs_naive": 3.3, "distilbert_vs_naive": 2.0}
AIMS_BF16 = {"vs_naive": 5.0, "distilbert_vs_naive": 3.8}
AIM_PEAK = 0.9
FLOORS = {"vs_naive": 1.8, "distilbert_vs_naive": 1.2}
_LONG_SHARE = 0.046
_WINDOW_TOKENS = 512
CONCURRENT, INFINITY_BATCH = 64, 4  # the best of 4, 8 and 32 for it: larger ones pad more
_HOW = {
    "ours": "**packed**, a process per core, one thread each",
    "naive": "`pipeline(text)`, torch's default threads",
    "naive_per_core": "`pipeline(text)`, a process per core, one thread each",
    "batches": "`pipeline(texts, batch_size=32)`, default threads",
    "bf16": "**packed, bfloat16**, a process per core, one thread each",
    "alone": "packed, one process, one thread",
    "infinity": "infinity, one process, one thread, 64 requests at once",
}


class Case(NamedTuple):
    """What is scored by what."""

    model: str
    ours: str
    theirs: str  # the same weights as a transformers folder
    texts: list[str]


def texts_of(data: Path, count: int, *, mixed: bool) -> list[str]:
    """Short: 5 to 60 words. Mixed: about 25 words, one in 22 with 300 to 410. Real sentences from
    the movie reviews, joined; none longer than a window, because transformers cuts what is."""
    tokenizer = base_tokenizer()
    randomness = random.Random(3)
    words = " ".join(one.text for one in rated_texts.split_movies(data).held_out).split()
    found = []
    for _ in range(count):
        if not mixed:
            size = randomness.randint(5, 60)
        elif randomness.random() < _LONG_SHARE:
            size = randomness.randint(300, 410)
        else:
            size = min(max(int(randomness.lognormvariate(3.2, 0.6)), 3), 200)
        start = randomness.randrange(len(words) - size)
        text = " ".join(words[start : start + size])
        while len(tokenizer.encode(text).ids) > _WINDOW_TOKENS:
            text = text.rpartition(" ")[0]
        found.append(text)
    return found


def checkpoints(folder: Path) -> dict[str, Path]:
    """Both models as transformers saves them."""
    adapter = embedded.SHIPPED_ADAPTER
    config = json.loads((adapter / "adapter_config.json").read_text())
    weights = load_file(adapter / "adapter_model.safetensors")
    state = embedded.merged(base_weights(), weights, scale=config["lora_alpha"] / config["r"])
    minilm = base_network(len(state["classifier.bias"]))
    minilm.load_state_dict(state, strict=False)
    torch.manual_seed(1)
    distilbert = DistilBertForSequenceClassification(DistilBertConfig())
    return {
        "minilm": saved(minilm, folder / "minilm"),
        "distilbert": saved(distilbert, folder / "distilbert"),
    }


def saved(
    network: PreTrainedModel, folder: Path, names: Sequence[str] = ("negative", "positive")
) -> Path:
    """As transformers saves it, with MiniLM's tokenizer; without names infinity takes a classifier
    for a reranker."""
    network.config.id2label = dict(enumerate(names))
    network.config.label2id = {name: number for number, name in enumerate(names)}
    network.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        path = base_folder() / name
        if path.is_file():
            (folder / name).write_bytes(path.read_bytes())
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["model_max_length"] = 512
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    words = json.loads((folder / "tokenizer.json").read_text())
    words["truncation"] = words["padding"] = None  # the file bakes in 128
    (folder / "tokenizer.json").write_text(json.dumps(words))
    return folder


class Scorer:
    """Processes that score the same texts at once, and are told when."""

    def __init__(self, command: Sequence[str], count: int = 1) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TOKENIZERS_PARALLELISM": "false"}
        self._processes = [
            subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
                env=environment,
            )
            for _ in range(count)
        ]
        self._command = command

    def wait_ready(self) -> None:
        """Returns when all of them have loaded.

        Raises:
            SystemExit: one has not.
        """
        for process in self._processes:
            assert process.stdout is not None
            if process.stdout.readline().strip() != "ready":
                raise SystemExit(f"{self._command} did not start")

    def ask(self, line: str) -> list[object]:
        """The answer of each process to the same line, sent to all at once."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(line + "\n")
            process.stdin.flush()
        answers = []
        for process in self._processes:
            assert process.stdout is not None
            answers.append(json.loads(process.stdout.readline()))
        return answers

    def end(self) -> None:
        """Nothing more will be asked; returns at once."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()

    def wait_ended(self) -> None:
        """Returns when all of them have gone, after `end`."""
        for process in self._processes:
            process.wait(30)


class Run(NamedTuple):
    """One turn: of the whole machine, and of one core."""

    per_second: float
    per_core_second: float
    probabilities: list[float]


def turn(scorer: Scorer, texts: int) -> Run:
    """All processes score everything once."""
    answers = [dict(_mapping(answer)) for answer in scorer.ask("go")]
    total = sum(texts / float(str(answer["seconds"])) for answer in answers)
    cpu = sum(float(str(answer["cpu_seconds"])) for answer in answers)
    probabilities = answers[0]["probabilities"]
    assert isinstance(probabilities, list)
    return Run(total, texts * len(answers) / cpu, probabilities)


def _mapping(answer: object) -> Mapping[str, object]:
    assert isinstance(answer, dict)
    return answer


@contextmanager
def scorers(
    case: Case, folder: Path, infinity: Path | None, *, quick: bool
) -> Iterator[dict[str, Scorer]]:
    """Everybody, loaded; they take turns, and those whose turn it is not only wait. In a quick
    run: those whose ratios are judged."""
    cores = os.cpu_count() or 1
    path = folder / "texts.json"
    path.write_text(json.dumps(case.texts))

    def scorer(how: str, model: str, threads: int, count: int) -> Scorer:
        program = [sys.executable, "-P", "-m", "benchmarks.peers.scoring"]
        return Scorer([*program, how, model, str(threads), str(path)], count)

    found = {
        "ours": scorer("ours", case.ours, 1, cores),
        "naive": scorer("one_by_one", case.theirs, 0, 1),
    }
    if not quick:
        found["naive_per_core"] = scorer("one_by_one", case.theirs, 1, cores)
        found["batches"] = scorer("batches", case.theirs, 0, 1)
    if not quick and bf16_is_fast():
        found["bf16"] = scorer("bf16", case.ours, 1, cores)
    if infinity is not None:
        found["alone"] = scorer("ours", case.ours, 1, 1)
        program = [str(infinity), "-P", "-m", "benchmarks.peers.with_infinity"]
        sizes = [str(CONCURRENT), str(INFINITY_BATCH)]
        found["infinity"] = Scorer([*program, case.theirs, str(path), *sizes])
    try:
        for each in found.values():
            each.wait_ready()
        yield found
    finally:
        for each in found.values():
            each.end()
        for each in found.values():
            each.wait_ended()


class Peak(NamedTuple):
    """The most that one core does in a matrix product here, in FLOP/s, the best of many: by torch's
    own product, and by the faster of that and oneDNN's on repacked weights."""

    plain: float
    best: float


def gemm_peak() -> Peak:
    """In the sizes that the models have and in a larger one."""
    torch.set_num_threads(1)
    found = {"plain": 0.0, "repacked": 0.0}
    with torch.inference_mode():
        for rows, inside, columns in ((512, 384, 1_536), (512, 768, 3_072), (1_024, 1_024, 1_024)):
            x = torch.randn(rows, inside)
            linear = Linear(torch.randn(columns, inside), torch.zeros(columns))
            for kind in found:
                for _ in range(20):
                    start = time.perf_counter()
                    linear(x)
                    took = time.perf_counter() - start
                    found[kind] = max(found[kind], 2 * rows * inside * columns / took)
                linear.repack()
    return Peak(found["plain"], max(found.values()))


def flops(case: Case) -> float:
    """Operations that a text needs on average: matrix products of 12 h² weights a layer (4 h wide
    inside), and attention. In the last layer all but keys and values is for one token only."""
    model = load(case.ours)._passes._model
    packed = model.network
    assert isinstance(packed, Packed)
    h, layers = packed.words.shape[1], len(packed.layers)
    total = 0
    for text in case.texts:
        n = min(len(model.tokenizer.encode(text).ids), model.max_tokens)
        total += (layers - 1) * (24 * n * h**2 + 4 * n**2 * h)
        total += 4 * n * h**2 + 20 * h**2 + 4 * n * h
    return total / len(case.texts)


def proven(data: Path, folder: Path) -> dict[str, float]:
    """What the services would ask for before the embedded model answers in bfloat16: see
    `services.inference.proving`. Texts: the movie reviews."""
    snippets = [one for part in rated_texts.split_movies(data) for one in part]
    random.Random(5).shuffle(snippets)
    texts, kept = folder / "proof.txt", folder / "proof"
    texts.write_text("\n".join(" ".join(one.text.split()) for one in snippets))
    load("embedded", precision="auto", proof=Proof(texts, kept))
    (file,) = kept.iterdir()
    evidence = Evidence(**json.loads(file.read_text()))
    return {
        "bf16_proven": float(evidence.sufficient),
        "bf16_other_labels_bound": round(evidence.other_labels_bound, 5),
        "bf16_crossings_bound": round(evidence.crossings_bound, 5),
    }


def measure(say: Console, *, quick: bool) -> Report:
    """Each case in rounds of turns; then the waiting times of the embedded model."""
    rounds = QUICK_ROUNDS if quick else ROUNDS
    count = QUICK_TEXTS if quick else TEXTS
    data = Home.from_environment(os.environ).data
    rated_texts.fetch(data, say.print)
    infinity = None if quick else infinity_python(say)
    result: dict[str, float] = {}
    rows: list[Sequence[str]] = []
    waits: list[Sequence[str]] = []
    shares: list[Sequence[str]] = []
    bars: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="hitl-bench-") as name:
        folder = Path(name)
        saved = checkpoints(folder)
        cases = {
            "mix": Case("MiniLM, mix", str(saved["minilm"]), str(saved["minilm"]), []),
            "short": Case("MiniLM, short", str(saved["minilm"]), str(saved["minilm"]), []),
            "distilbert": Case(
                "DistilBERT size, mix", str(saved["distilbert"]), str(saved["distilbert"]), []
            ),
        }
        if quick:
            del cases["short"]
        for name, bare in cases.items():
            case = bare._replace(texts=texts_of(data, count, mixed=name != "short"))
            runs: defaultdict[str, list[Run]] = defaultdict(list)
            peaks: list[Peak] = []
            peer = None if name == "distilbert" else infinity
            with scorers(case, folder, peer, quick=quick) as everybody:
                for number in range(rounds):
                    peaks.append(gemm_peak())
                    for how, scorer in everybody.items():
                        runs[how].append(turn(scorer, count))
                        say.print(
                            f"{case.model}, round {number + 1} of {rounds}: {how} "
                            f"{runs[how][-1].per_second:.0f} texts/s"
                        )
                if name != "distilbert" and not quick:
                    found = _waits(name, everybody["ours"], runs["ours"])
                    waits += [
                        (
                            case.model,
                            f"{share:.0%}",
                            *(short(found[key]) for key in _keys(name, share)),
                        )
                        for share in LOADS
                    ]
                    result |= found
            prefix = "" if name == "mix" else f"{name}_"
            result |= _compare(prefix, case.model, runs, rows)
            done = flops(case) * result[f"{prefix}ours_per_core_s"]
            of_plain = done / max(peak.plain for peak in peaks)
            of_best = done / max(peak.best for peak in peaks)
            result[f"{prefix}vs_plain_gemm_peak"] = round(of_plain, 3)
            result[f"{prefix}vs_gemm_peak"] = round(of_best, 3)
            shares.append((case.model, short(of_plain), short(of_best), f"≥ {AIM_PEAK:g}"))
            if name == "mix":
                bars = {_plain(_HOW[how]): result[f"{how}_per_s"] for how in runs}
        if not quick and bf16_is_fast():
            result |= proven(data, folder)
    return Report(
        name="inference",
        title="Inference",
        text="Texts scored a second by the whole machine. The mix has about 25 words a text, and "
        "one in 22 with 300 to 410. transformers gets the same weights, cuts at 512 tokens and "
        "says the whole distribution, as we do. No text is longer. Labels and probabilities "
        "are compared.",
        tables=[
            Table(
                (
                    "model and texts",
                    "how",
                    "texts/s",
                    "of one core",
                    "ours / theirs",
                    "aim",
                    "largest difference",
                ),
                rows,
            ),
            *(
                [Table(("texts", "load", "arrival to answer, p50 ms", "p99 ms"), waits)]
                if waits
                else []
            ),
            Table(
                (
                    "model and texts, exact, one core",
                    "of the peak of torch's own matrix product",
                    "of the peak with repacked weights",
                    "aim",
                ),
                shares,
            ),
        ],
        bars=Bars("texts a second, MiniLM, mix, whole machine", bars),
        result=result,
        floors=FLOORS,
    )


def _plain(title: str) -> str:
    return title.replace("*", "").replace("`", "")


def _waits(name: str, ours: Scorer, runs: Sequence[Run]) -> dict[str, float]:
    """Milliseconds from arrival to answer, at shares of what a process can do."""
    speed = statistics.median(run.per_second for run in runs) / (os.cpu_count() or 1)
    found = {}
    for share in LOADS:
        waits: list[float] = []
        for answer in ours.ask(f"load {share * speed}"):
            assert isinstance(answer, list)
            waits += answer
        for key, at in zip(_keys(name, share), (0.5, 0.99), strict=True):
            found[key] = round(1e3 * quantile(waits, at), 1)
    return found


def _keys(name: str, share: float) -> tuple[str, str]:
    """What the median and the 99th percentile at this load are called in the result."""
    load = f"{share * 100:.0f}"
    return f"{name}_p50_ms_at_{load}", f"{name}_p99_ms_at_{load}"


def _compare(
    prefix: str, title: str, runs: Mapping[str, Sequence[Run]], rows: list[Sequence[str]]
) -> dict[str, float]:
    truth = runs["naive"][0].probabilities
    result: dict[str, float] = {}
    for how, done in runs.items():
        speed = Spread.of([run.per_second for run in done])
        core = Spread.of([run.per_core_second for run in done])
        off = [abs(one - two) for one, two in zip(done[0].probabilities, truth, strict=True)]
        other = sum(
            (one > 0.5) != (two > 0.5)
            for one, two in zip(done[0].probabilities, truth, strict=True)
        )
        result |= {
            f"{prefix}{how}_per_s": round(speed.median, 1),
            f"{prefix}{how}_per_core_s": round(core.median, 1),
        }
        against = ""
        wanted: float | None = None
        theirs = [run.per_second for run in done]
        if how in ("ours", "bf16"):
            mine = prefix if how == "ours" else f"{prefix}bf16_"
            result |= {f"{mine}max_difference": max(off), f"{mine}other_labels": other}
            if how == "bf16":
                spread = ratio(theirs, [run.per_second for run in runs["naive"]])
                against = f"{spread} of `pipeline(text)`"
                wanted = AIMS_BF16.get(f"{prefix}vs_naive")
        elif how != "alone":
            same = "alone" if how == "infinity" else "ours"  # as many processes as it has
            spread = ratio([run.per_second for run in runs[same]], theirs)
            result |= ratios(f"{prefix}vs_{how}", spread)
            against = str(spread)
            wanted = AIMS.get(f"{prefix}vs_{how}")
            if "bf16" in runs and how != "infinity":
                halved = ratio([run.per_second for run in runs["bf16"]], theirs)
                result |= ratios(f"{prefix}bf16_vs_{how}", halved)
        aim = "" if wanted is None else f"≥ {wanted:g}"
        largest = f"{max(off):.0e}"
        rows.append((title, _HOW[how], str(speed), short(core.median), against, aim, largest))
    return result


def main() -> None:
    given = options("inference", __doc__)
    say = Console(stderr=True, quiet=given.json)
    publish(measure(say, quick=given.quick), given)


if __name__ == "__main__":
    main()
