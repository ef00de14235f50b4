"""Runs of a program and reports of them: counters, energy, tables, HTML."""
