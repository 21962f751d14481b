"""ai-therapist judge."""

import re
from pathlib import Path

import click

from ai_therapist.cli.options import workspace_option


@click.command(epilog="Example:  ai-therapist judge -w study --model scripted:judge.json --rubric miti")
@click.option("--model", "spec", required=True, help="The judge: KIND or KIND:WHERE of a model that writes.")
@click.option("--rubric", default="miti", show_default=True, help="ctrs, epitome, miti or wai_o_s.")
@click.option("--system", default="tuned", show_default=True, help="System whose stored replies are rated.")
@click.option("--against", metavar="SYSTEM", help="Ask which of two systems' replies is better, in both orders.")
@click.option("--repeats", type=click.IntRange(1, 20), default=2, show_default=True, help="Times each reply is rated.")
@workspace_option
def command(spec: str, rubric: str, system: str, against: str | None, repeats: int, workspace: Path) -> None:
    """Rate the replies that evaluate stored, items in both orders; writes judge-SYSTEM-RUBRIC.json.

    The ratings carry a banner until their agreement with people is measured (ai-therapist agreement).
    """
    from ai_therapist.cli.console import out
    from ai_therapist.cli.local_mode import keep_local_with
    from ai_therapist.dataset.read import dataset_item
    from ai_therapist.errors import RequestError
    from ai_therapist.evaluation.config import Resampling
    from ai_therapist.evaluation.judge import load_rubric
    from ai_therapist.evaluation.judged import judge_pairs, judge_replies
    from ai_therapist.evaluation.outputs import read_predictions
    from ai_therapist.evaluation.page import show_score
    from ai_therapist.models.catalogue import open_model
    from ai_therapist.models.protocol import TextGenerator
    from ai_therapist.records import Example
    from ai_therapist.store.blobs import write_atomically
    from ai_therapist.store.codec import decode_all, encode
    from ai_therapist.store.workspace import Workspace

    keep_local_with(spec)
    place = Workspace.existing(workspace)
    questions, judge = load_rubric(rubric), open_model(spec)
    if not isinstance(judge, TextGenerator):
        raise RequestError(f"{spec} weighs labels and does not write: it cannot judge")
    predictions = read_predictions(place.root)
    rows = [row for row in predictions if row.system == system]
    digest = dataset_item(place).artefacts["examples"]
    examples = {each.id: each for each in decode_all(Example, place.store.read(digest), "examples of the dataset")}
    name = re.sub(r"[^A-Za-z0-9.@-]", "-", system if against is None else f"{system}-against-{against}")
    target = place.root / f"judge-{name}-{rubric}.json"
    if against is not None:
        pair = (rows, [row for row in predictions if row.system == against])
        preference = judge_pairs(judge, questions, pair, examples, Resampling())
        write_atomically(target, encode(preference))
        out.print(preference.banner, markup=False)
        out.print(f"  {system} preferred to {against}: {show_score(preference.a_preferred)}", markup=False)
        pairs = f"{len(preference.verdicts)} pairs, {preference.ties} ties, {preference.unscored} without a verdict"
        out.print(f"{pairs}: {target}", markup=False)
        return
    found = judge_replies(judge, questions, rows, examples, repeats)
    write_atomically(target, encode(found))
    out.print(found.banner or "", markup=False)
    for item, score in found.means.items():
        out.print(f"  {item}: {show_score(score)} ({questions.low} to {questions.high})", markup=False)
    out.print(f"{len(found.replies)} replies, {found.unscored} unscored: {target}", markup=False)
