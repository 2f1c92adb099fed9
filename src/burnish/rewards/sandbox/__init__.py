"""Runs programs that a model wrote, without root: what a program can do is limited by the kernel (Linux 5.13 or newer).

`confine` gives up rights for good, `answer` serves a program's functions, `judge` runs tests against them, `run` starts
all of it and reads the verdict. Except for `run` these modules run in processes of their own and use the standard
library alone.
"""
