"""A server with dynamic batching that scores texts: infinity, asked by so many at once.

usage: with_infinity MODEL TEXTS CONCURRENT BATCH. Loads, says `ready`, and scores all texts once
for each line it reads, one request a text; what is said is as in `scoring`. In the process, without
HTTP: what is measured is how it batches.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

import torch
from infinity_emb import AsyncEmbeddingEngine, EngineArgs


async def serve(model: str, texts: list[str], concurrent: int, batch: int) -> None:
    arguments = EngineArgs(
        model_name_or_path=model,
        engine="torch",
        device="cpu",
        dtype="float32",
        batch_size=batch,
        bettertransformer=False,  # torch's own attention, which transformers chooses, is faster
        lengths_via_tokenize=True,  # batches of similar length, so that little is padded
        model_warmup=False,
    )
    second = json.loads((Path(model) / "config.json").read_text())["id2label"]["1"]
    engine = AsyncEmbeddingEngine.from_args(arguments)
    places = asyncio.Semaphore(concurrent)

    async def score(text: str) -> float:
        async with places:
            (answer,), _ = await engine.classify(sentences=[text])
        return next(float(one["score"]) for one in answer if one["label"] == second)

    async with engine:
        await asyncio.gather(*map(score, texts[:batch]))
        print("ready", flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            start, cpu = time.perf_counter(), time.process_time()
            probabilities = await asyncio.gather(*map(score, texts))
            answer = {
                "seconds": time.perf_counter() - start,
                "cpu_seconds": time.process_time() - cpu,
                "probabilities": probabilities,
            }
            print(json.dumps(answer), flush=True)


def main() -> None:
    model, path, concurrent, batch = sys.argv[1:]
    torch.set_num_threads(1)
    asyncio.run(serve(model, json.loads(Path(path).read_text()), int(concurrent), int(batch)))


if __name__ == "__main__":
    main()
