"""The decisions, and nothing else: values in, values out.

Rule: no clock, randomness, threads, files, network or logging here. Time, ids and random numbers are passed in.
"""
