"""ai-therapist agreement."""

from pathlib import Path

import click


@click.command(epilog="Example:  ai-therapist agreement study/judge-tuned-miti.json ratings.csv")
@click.argument("judgement", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("people", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def command(judgement: Path, people: Path) -> None:
    """Measure how far a judge's ratings agree with people's, and write it into the judge's file.

    PEOPLE is a CSV with the columns example, item, rating; several ratings of one item are averaged. With 30 ratings
    or more the banner "not calibrated" goes.
    """
    from ai_therapist.cli.console import out
    from ai_therapist.evaluation.judged import Judgement, calibrated
    from ai_therapist.evaluation.page import show_score
    from ai_therapist.store.blobs import write_atomically
    from ai_therapist.store.codec import decode, encode

    found = calibrated(decode(Judgement, judgement.read_bytes(), judgement.name), people)
    write_atomically(judgement, encode(found))
    if found.banner is not None:
        out.print(found.banner, markup=False)
    if found.agreement is not None:
        for name in ("weighted_kappa", "icc_2_1", "alpha"):
            out.print(f"  {name}: {show_score(getattr(found.agreement, name))}", markup=False)
        out.print(f"  ratings compared: {found.agreement.n}", markup=False)
