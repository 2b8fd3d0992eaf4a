"""The command line: one module a verb, each with `run(argv)`.

May import every other room; no room may import this one. The only place that prints. Read
`main` first: it finds the verb, imports that one module and turns errors into one line.
"""
