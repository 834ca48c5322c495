"""When does distillation help? Many runs of both small nets, and intervals of the differences.

    studies/     the studies that come with npkd, as TOML files
    shipped.py   their names, and which file is for which data
    plan.py      what is studied: settings × seeds, read from a TOML file
    cells.py     one training with its figures: a function of values, for a process anywhere
    running.py   all trainings of a study, by any `concurrent.futures.Executor`, kept in a folder
    kept.py      the form in which they are kept, and what is checked when they are read
    processes.py an executor of processes of this machine, which end with the study
    analysis.py  means over seeds and images with their intervals, and what many of them say
    results.py   each net's figures, and the difference to a net that learns from labels
    tables.py    the same in words
    picture.py   the same, drawn
    page.py      study.html
    command.py   `npkd study`

In Python, with any executor:

    source = study.Source.of("mnist5k")
    dataset = source.load()
    plan = study.read(text, dataset)
    done, failed = {}, {}
    with study.study_folder("runs/mine") as folder, ProcessPoolExecutor(2) as executor:
        for event in study.run(plan, source, executor, folder, at_once=4):
            match event:
                case study.Done():
                    done[event.cell.key] = event
                case study.Failed():
                    failed[event.cell.key] = event.reason
    print(study.table(study.report(plan, source, dataset, done, failed)))
"""

from npkd.study import shipped
from npkd.study.cells import Source
from npkd.study.plan import Setting, Study, read
from npkd.study.results import report
from npkd.study.running import Damaged, Done, Failed, Planned, run, study_folder
from npkd.study.tables import table

__all__ = [
    "Damaged",
    "Done",
    "Failed",
    "Planned",
    "Setting",
    "Source",
    "Study",
    "read",
    "report",
    "run",
    "shipped",
    "study_folder",
    "table",
]
