"""What a call costs, measured side by side: `make bench`.

Every side (the bare client, the wrapped one, another library) is a process of its own, for some of them patch the SDK for
the whole process. The parent runs short blocks of calls on each in turn, and compares the CPU time of each block with
that of the bare client's block of the same round. A second bare client shows what the machine's noise makes of "no
difference".
"""
