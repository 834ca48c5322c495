"""When does distillation help? Many runs of both small nets, and intervals of the differences.

    plan.py      what is studied: settings × seeds, read from a TOML file
    cells.py     one training with its figures: a function of values, for a process anywhere
    running.py   all cells of a study, by any `concurrent.futures.Executor`, kept in a folder
    results.py   means, 95 % intervals, and the difference to a net that learns from labels
    picture.py   the same, drawn
    command.py   `npkd study`

In Python:

    dataset = data.load("mnist5k")
    plan = study.read(study.text_for(dataset), dataset)
    with ProcessPoolExecutor() as executor:
        for event in study.run(plan, study.Source.of("mnist5k"), executor, folder=Path("mine")):
            print(event)
    print(study.table(study.report(plan, ...)))
"""
