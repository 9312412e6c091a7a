"""Compare all models of a study: python -m cifar100x.compare study=NAME."""

from cifar100x.app.command import launch


def compare(
    *,
    study: str,
    runs: str,
    cache: str | None,
    folds: int | None,
    rope: float | None,
    variances: str | None,
    looks: int | None,
    baseline: str | None,
) -> None:
    """Write the tables, the verdict, the figures and the report of a study, and print the tables."""
    from rich.console import Console

    from cifar100x.app.naming import study_named
    from cifar100x.app.reporting import write_report
    from cifar100x.report import tables, words

    found = study_named(runs, study)
    comparison = write_report(found, cache, folds, rope=rope, variances=variances, looks=looks, baseline=baseline)
    console = Console(markup=False)
    tables.show(comparison, study, words.answer(comparison), console)
    if look := found.final.look:
        for sentence in (*words.on_test(look.metrics), f"{words.looked(look.metrics)}."):
            console.print(sentence, highlight=False)
    console.print(f"\nwrote {found.report}/report.html, and its tables and figures beside it", soft_wrap=True)


def main() -> None:
    """Entry point of the command line."""
    launch(compare, "compare")


if __name__ == "__main__":
    main()
