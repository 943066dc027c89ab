"""The rules and readers here against the vendor's own ``check_file``, file by file.

vendor_driver.py   runs inside a vendor environment: paths in, verdicts out
reference.py       one such process for each generation, and the rule set that must equal it
ours.py            our verdict, through the public interface of the readers
sequential.py      the simplest reader there can be, as a second opinion on the fast one
compare.py         what counts as a difference, and the exceptions that the rules list
cases.py           hand-made files, at least one for each rule
generate.py        seeded random files: records bent and broken in every way we could think of
fuzz.py            the same without end: ``python -m tests.differential.fuzz --seconds 600``
"""
