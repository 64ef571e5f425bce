"""The detector's promises and powers, measured: `make bench-detector`.

Each study is a module with `NAME`, `tasks(scale, seed)` and `rows(results)`: tasks are independent of each other and run in
processes; rows set their figures beside the targets. Detectors are always the library's own, never copies.
"""
