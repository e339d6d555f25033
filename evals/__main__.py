"""python -m evals: score a model. Exit status 1 where a case failed, 2 for options that make no sense."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from evals.case import Case
from evals.cases import all_cases
from evals.pipeline import Pipeline
from evals.product import Product, ScriptedModel
from evals.report import json_line, table
from evals.runner import run_case

_CALLING: Final = {"native": True, "schema": False}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the cases that are asked for, and print what came of them."""
    options = _options().parse_args(argv)
    cases = [case for case in all_cases() if not options.case or {case.name, case.group} & set(options.case)]
    unknown = set(options.case or ()) - {name for case in all_cases() for name in (case.name, case.group)}
    if (options.endpoint and not options.model) or (options.scripted and options.model):
        sys.stderr.write("error: an endpoint belongs to --model, and a model not to the scripted baseline\n")
        return 2
    if unknown:
        sys.stderr.write(f"error: there is no case and no group {', '.join(sorted(unknown))}; --list names them\n")
        return 2
    if options.list:
        sys.stdout.write("".join(f"{case.group}/{case.name}: {case.says[0][:100]}\n" for case in cases))
        return 0
    connect = _connect(options)
    scores = []
    with ExitStack() as stack:
        lines = stack.enter_context(Path(options.json).open("w", encoding="utf-8")) if options.json else None
        for case in cases:
            scores.append(run_case(case, connect))
            if lines is not None:
                lines.write(json_line(scores[-1]))
                lines.flush()
            sys.stderr.write(f"{'ok    ' if scores[-1].passed else 'FAILED'}  {case.group}/{case.name}\n")
    sys.stdout.write(table(scores))
    return 0 if all(score.passed for score in scores) else 1


def _connect(options: argparse.Namespace) -> Callable[[Case], Pipeline]:
    """How a case gets its session."""
    if options.model is None:
        return lambda case: Product(case, ScriptedModel(case.right))
    from agent.model import OpenAIModel  # takes the better part of a second

    key = os.environ.get(options.key_variable)
    model = OpenAIModel(
        base_url=options.endpoint, api_key=key, model=options.model, tool_calling=_CALLING.get(options.tool_calling)
    )
    return lambda case: Product(case, model)


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m evals", description="Score what a model makes of English.")
    parser.add_argument("--scripted", action="store_true", help="the scripted baseline, as without a model")
    parser.add_argument("--model", help="the name of a model")
    parser.add_argument("--endpoint", metavar="URL", help="its OpenAI-compatible endpoint; default: OpenAI's own")
    parser.add_argument(
        "--key-variable", default="OPENAI_API_KEY", metavar="NAME", help="the variable that has the key"
    )
    parser.add_argument(
        "--tool-calling", choices=sorted(_CALLING), help="how tools are called; default: it is found out"
    )
    parser.add_argument("--case", action="append", metavar="NAME", help="a case or a group; again for more")
    parser.add_argument("--json", metavar="FILE", help="write a line of JSON for each case")
    parser.add_argument("--list", action="store_true", help="name the cases, and run none")
    return parser


if __name__ == "__main__":
    sys.exit(main())
