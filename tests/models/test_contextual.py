"""BERTScore is what its definition says, computed here once more by hand from the same random encoder."""

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, PreTrainedTokenizerFast

from ai_therapist.errors import ConfigError, MissingInput
from ai_therapist.models.contextual import ContextualEncoder

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "so", "the", "evening", "is", "long", "a", "letter", "came")


def save_encoder(folder: Path) -> Path:
    """A random BERT of two layers with a vocabulary of a few words."""
    torch.manual_seed(0)
    tokenizer = Tokenizer(WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        initializer_range=0.5,
    )
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_encoder(tmp_path_factory.mktemp("encoder"))


def by_hand(folder: Path, layer: int, written: str, reference: str) -> float:
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    vectors = []
    for text in (written, reference):
        with torch.no_grad():
            states = model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True).hidden_states[layer][0]
        vectors.append([state.tolist() for state in states])

    def cosine(one: list[float], other: list[float]) -> float:
        dot = sum(a * b for a, b in zip(one, other, strict=True))
        return float(dot / (sum(a * a for a in one) * sum(b * b for b in other)) ** 0.5)

    def best(ones: list[list[float]], others: list[list[float]]) -> float:
        found = [max(cosine(one, other) for other in others) for one in ones[1:-1]]
        return sum(found) / len(found)

    precision, recall = best(*vectors), best(*vectors[::-1])
    return 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize("layer", [1, 2])
def test_it_is_greedy_matching_of_cosines(folder: Path, layer: int) -> None:
    encoder = ContextualEncoder(folder, layer)
    for pair in (("the evening is long", "so the evening is"), ("a letter came", "long is so")):
        assert encoder.f_measure(*pair) == pytest.approx(by_hand(folder, layer, *pair), abs=1e-5)
    assert encoder.f_measure("a letter", "a letter") == pytest.approx(1, abs=1e-5)
    assert encoder.name.endswith(f", layer {layer}")


def test_no_words_match_nothing_and_long_texts_are_cut(folder: Path) -> None:
    encoder = ContextualEncoder(folder)
    assert encoder.f_measure("", "a letter") == 0
    assert 0 < encoder.f_measure("letter " * 40, "letter came") <= 1


def test_what_is_no_encoder_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="holds no model"):
        ContextualEncoder(tmp_path)
    with pytest.raises(ConfigError, match="layers 1 to 2, no layer 3"):
        ContextualEncoder(folder, 3)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="no whole safetensors file"):
        ContextualEncoder(tmp_path)
