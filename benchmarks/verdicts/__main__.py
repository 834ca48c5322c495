"""`python -m benchmarks.verdicts`."""

from benchmarks.verdicts.judged import main

if __name__ == "__main__":
    main()
