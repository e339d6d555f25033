"""Running a Program; the whole state is a JSON value.

a step forward    machine.py driving and frames | state.py | effects.py what it says to its driver | events.py what it tells
                  operations.py the instructions | arguments.py binding arguments, checking results
control           fibers.py strands side by side | loops.py | failures.py retry, catch, finally | timeouts.py
                  calls.py tools, runs, people
transactions      transactions.py the open one, and asking for effects | reruns.py after a conflict | blocks.py on another database
                  sagas.py compensations, the end of a run
rows              batches.py chunk by chunk | parts.py chunks side by side | iterations.py bodies | reduce.py | progress.py
around it         local.py driving one right here | dry_runs.py what a dry run does otherwise | standing.py how a run stands, for
                  people | resuming.py going on from the middle of a run
"""
