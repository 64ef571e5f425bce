"""Read models shared by command line and report: files and ledgers in, plain values out."""
