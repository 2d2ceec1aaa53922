"""Showing a result: on the terminal (`terminal`) and as a JSON file (`json_file`).

Reports read records of `kullback.results` and compute nothing but units.
"""
