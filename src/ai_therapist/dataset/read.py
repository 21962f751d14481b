"""Plain readers of what the dataset run left in the store."""

from collections.abc import Iterable, Iterator

from ai_therapist.errors import MissingInput
from ai_therapist.privacy.consent import require
from ai_therapist.records import Example, Session, Use
from ai_therapist.store.codec import decode, decode_all
from ai_therapist.store.workspace import ItemRecord, Workspace

RUN = "dataset"
"""Name of the ledger."""

ITEM = "dataset"
"""Id of the item that is the dataset as a whole."""


def dataset_item(workspace: Workspace) -> ItemRecord:
    """The finished dataset with its artefacts. Raises MissingInput where there is none, with the reason if known."""
    run = workspace.load_run(RUN, "dataset")
    item = next((item for item in run.items if item.item == ITEM), None)
    if item is None or item.reason is not None:
        reason = "it has no examples" if item is None else item.reason
        raise MissingInput(f"{workspace.root}: the dataset is not complete: {reason}")
    return item


def read_examples(workspace: Workspace) -> tuple[Example, ...]:
    """All examples of the dataset, in its order. Raises MissingInput as `dataset_item` does."""
    digest = dataset_item(workspace).artefacts["examples"]
    return decode_all(Example, workspace.store.read(digest), "examples of the dataset")


def read_training_examples(workspace: Workspace) -> tuple[Example, ...]:
    """All examples, once every session behind them is found to permit training today.

    Raises NotPermitted that names the first session whose permission ended since the dataset was made, and
    MissingInput as `read_examples` does, or where the dataset holds a session that is not annotated any more.
    """
    examples = read_examples(workspace)
    for session in sessions_today(workspace, {example.session for example in examples}):
        require(session.name, session.consent, Use.TRAIN)
    return examples


def sessions_today(workspace: Workspace, ids: Iterable[str]) -> Iterator[Session]:
    """The sessions of these ids with the rights that the last extraction read, in the order of their ids.

    Raises MissingInput for one that is not annotated any more.
    """
    annotated = {item.item: item for item in workspace.load_run("annotation", "annotate").items}
    for session_id in sorted(set(ids)):
        digest = annotated[session_id].artefacts.get("session") if session_id in annotated else None
        if digest is None:
            raise MissingInput(f"{session_id} is in the dataset but not annotated: run  ai-therapist dataset  again")
        yield decode(Session, workspace.store.read(digest), f"session {session_id}")
