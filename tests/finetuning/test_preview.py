"""What is shown as learned is what is learned, token for token, and nothing is left out."""

from ai_therapist.dataset.render import target_text
from ai_therapist.dataset.trunk import gather_conversations
from ai_therapist.finetuning.preview import Kind, preview
from ai_therapist.finetuning.tokenizer import TURN_END
from ai_therapist.finetuning.tree import encode_all
from tests.finetuning.builders import make_chat, make_examples, make_features, placeholders

EXAMPLES = make_examples(sessions=1, turns=12)


def test_all_of_a_tree_is_shown_in_reading_order_with_the_learned_words_marked() -> None:
    chat, marks = make_chat(EXAMPLES), placeholders(make_features(EXAMPLES))
    (tree,) = encode_all(gather_conversations(EXAMPLES), chat, marks, 4000, 4).trees
    runs = list(preview(tree, chat))
    assert sum(run.tokens for run in runs) == tree.tokens
    learned = [run.text for run in runs if run.kind is Kind.LEARNED]
    assert learned == [target_text(one.labels, one.reply.text) + TURN_END for one in EXAMPLES]
    assert sum(run.tokens for run in runs if run.kind is Kind.LEARNED) == tree.learned
    clips = [run for run in runs if run.kind is Kind.CLIP]
    assert [run.text for run in clips] == [f"[clip: {run.tokens} tokens]" for run in clips]
    assert len(clips) == len(EXAMPLES)
    trunk = "".join(run.text for run in runs if run.kind is Kind.TRUNK)
    assert trunk == chat.tokenizer.decode(list(tree.trunk))
    assert all((run.branch is None) is (run.kind is Kind.TRUNK) for run in runs)
