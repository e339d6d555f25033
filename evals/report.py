"""The report: a table for people, and a line of JSON for each case for everything else."""

import json
from collections.abc import Sequence

from evals.scoring import Score


def table(scores: Sequence[Score]) -> str:
    """The groups with what passed, and below them what did not, with the reasons."""
    groups = list(dict.fromkeys(score.group for score in scores))
    rows = [(group, [score for score in scores if score.group == group]) for group in groups] + [("all", list(scores))]
    width = max(len(group) for group, _ in rows)
    lines = [f"{'group':<{width}}  cases  passed  properties  tokens  seconds"]
    for group, found in rows:
        verdicts = [verdict for score in found for verdict in score.verdicts]
        held = sum(verdict.reason is None for verdict in verdicts)
        tokens = sum(
            dict(score.usage).get("input_tokens", 0) + dict(score.usage).get("output_tokens", 0) for score in found
        )
        passed = sum(score.passed for score in found)
        seconds = sum(score.seconds for score in found)
        lines.append(
            f"{group:<{width}}  {len(found):>5}  {passed:>6}  {f'{held}/{len(verdicts)}':>10}  {tokens:>6.0f}  {seconds:>7.1f}"
        )
    failed = [score for score in scores if not score.passed]
    for score in failed:
        lines.append(f"\n{score.group}/{score.case}")
        lines += [f"  {verdict.property}: {verdict.reason}" for verdict in score.verdicts if verdict.reason is not None]
    return "\n".join(lines) + "\n"


def json_line(score: Score) -> str:
    """A case as a line of JSON."""
    return json.dumps(score.to_json(), ensure_ascii=False) + "\n"
