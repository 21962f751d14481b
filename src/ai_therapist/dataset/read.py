"""Plain readers of what the dataset run left in the store."""

from ai_therapist.errors import MissingInput
from ai_therapist.records import Example
from ai_therapist.store.codec import decode_all
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
