"""One process that scores texts: loads, says `ready`, and scores all of them once for each `go`.

usage: scoring HOW MODEL THREADS TEXTS. HOW is ours, bf16, one_by_one or batches; TEXTS is a file
with a JSON list; THREADS 0 leaves torch's default. For `load N` it is asked N times a second, at
random moments, and says how long each text waited. Answers are JSON, one line each.
"""

import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

BATCH = 32  # what an inference worker takes at most (half of its prefetch)
LOAD_SECONDS = 15.0

Score = Callable[[Sequence[str]], list[float]]  # the probability of the model's second label


def ours(model: str, threads: int, *, in_bf16: bool) -> Score:
    from services.inference.classifier import load

    classifier = load(model, threads=threads)
    if in_bf16:  # without the proof that services ask for: what is measured is the speed
        exact = classifier._passes._model
        assert exact.in_bf16 is not None
        classifier._passes._model = replace(exact, network=exact.in_bf16())

    def score(texts: Sequence[str]) -> list[float]:
        found: list[float] = []
        for start in range(0, len(texts), BATCH):
            answers = classifier.classify(texts[start : start + BATCH])
            found += [answer.distribution[1] for answer in answers]
        return found

    return score


def pipeline(model: str, threads: int, batch_size: int) -> Score:
    """What the documentation of transformers shows."""
    import transformers

    if threads:
        torch.set_num_threads(threads)
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # no types there
    pipe = transformers.pipeline("text-classification", model=model, device="cpu", top_k=None)
    names: Any = pipe.model.config.id2label

    def of_second(answers: Any) -> float:
        return next(float(one["score"]) for one in answers if one["label"] == names[1])

    def score(texts: Sequence[str]) -> list[float]:
        if batch_size == 1:
            answers: list[Any] = [pipe([text], truncation=True)[0] for text in texts]
        else:
            answers = list(pipe(list(texts), truncation=True, batch_size=batch_size))
        return [of_second(one) for one in answers]

    return score


def under_load(score: Score, texts: Sequence[str], per_second: float) -> list[float]:
    """Seconds from each arrival to its answer; arrivals are Poisson, answers one at a time or in
    batches of whatever waits."""
    randomness = random.Random(7)
    arrivals, at = [], 0.0
    while at < LOAD_SECONDS:
        at += randomness.expovariate(per_second)
        arrivals.append(at)
    waits: list[float] = []
    start = time.perf_counter()
    done = 0
    while done < len(arrivals):
        now = time.perf_counter() - start
        waiting = done
        while waiting < len(arrivals) and arrivals[waiting] <= now and waiting - done < BATCH:
            waiting += 1
        if waiting == done:
            time.sleep(max(arrivals[done] - now, 0))
            continue
        score([texts[i % len(texts)] for i in range(done, waiting)])
        finished = time.perf_counter() - start
        waits += [finished - arrivals[i] for i in range(done, waiting)]
        done = waiting
    return waits


def main() -> None:
    how, model, threads, path = sys.argv[1:]
    texts: list[str] = json.loads(Path(path).read_text())
    if how in ("ours", "bf16"):
        score = ours(model, int(threads), in_bf16=how == "bf16")
    else:
        score = pipeline(model, int(threads), {"one_by_one": 1, "batches": 32}[how])
    score(texts[:BATCH])
    print("ready", flush=True)
    for line in sys.stdin:
        word, _, share = line.strip().partition(" ")
        start, cpu = time.perf_counter(), time.process_time()
        if word == "load":
            answer: object = under_load(score, texts, float(share))
        else:
            probabilities = score(texts)
            answer = {
                "seconds": time.perf_counter() - start,
                "cpu_seconds": time.process_time() - cpu,
                "probabilities": probabilities,
            }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
