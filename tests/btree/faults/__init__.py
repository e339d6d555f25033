"""What must survive when the machine does not: power loss, failing and full disks, kill -9, flipped bits.

disk.py       Disk: what a power loss leaves, and which operation fails      workload.py   what the engine is made to do
vfs.py        the disk as an SQLite VFS; FaultyPager on top of it            driver.py     does it, and keeps the ledger
settings.py   seeds, the long form, where files go                           verify.py     a file against the ledger
writers.py    processes that write until they are killed                     test_*.py     one promise each

The default form samples; SOP_LONG_TESTS=1 takes every point. SOP_TEST_SEED=n repeats a run; every failure tells its seed.
"""
