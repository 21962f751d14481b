"""BERTScore with an encoder on this machine: how well the words of two texts match in context (Zhang et al. 2020).

Each token is matched with the most similar one of the other text, by cosine of its vectors in one layer. Precision is
the mean over what was written, recall over the reference, F their harmonic mean. As in the authors' package the tokens
that open and close a text weigh nothing but can be matched. No inverse document frequencies, no rescaling by a
baseline. Figures of different encoders or layers cannot be compared.
"""

# mypy: allow-untyped-calls

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModel, AutoTokenizer

from ai_therapist.errors import ConfigError
from ai_therapist.models.local import silence_progress_bars
from ai_therapist.models.weights_folder import folder_revision

_UNLIMITED = 1_000_000
"""From here on a tokenizer's greatest length stands for none."""


class ContextualEncoder:
    """An encoder such as RoBERTa in a folder; nothing is fetched and no code of the model is run."""

    def __init__(self, folder: Path, layer: int | None = None) -> None:
        """`layer` counts from 1 after the embeddings; without it the last one is taken.

        Raises MissingInput where there is no model, ConfigError where transformers cannot open it as an encoder, where
        its weights are no safetensors, or where it has no such layer.
        """
        revision = folder_revision(folder)
        silence_progress_bars()
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model: Any = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(f"{folder.name}: no encoder that can be loaded ({type(error).__name__})") from None
        self._model = model.eval()
        layers = int(model.config.num_hidden_layers)
        self._layer = layers if layer is None else layer
        if not 1 <= self._layer <= layers:
            raise ConfigError(f"{folder.name} has layers 1 to {layers}, no layer {layer}")
        longest = int(self._tokenizer.model_max_length)
        self._longest = longest if longest < _UNLIMITED else int(model.config.max_position_embeddings)
        self.name = f"{folder.name}@{revision}, layer {self._layer}"

    @torch.inference_mode()
    def f_measure(self, written: str, reference: str) -> float:
        """BERTScore F of one text against another; 0 where one of them has no word."""
        (own, counts), (others, other_counts) = self._vectors(written), self._vectors(reference)
        if not counts.any() or not other_counts.any():
            return 0.0
        similarity = own @ others.T
        precision = similarity.max(dim=1).values[counts].mean()
        recall = similarity.max(dim=0).values[other_counts].mean()
        both = float(precision + recall)
        return float(2 * precision * recall) / both if both else 0.0

    def _vectors(self, text: str) -> tuple[Tensor, Tensor]:
        """A unit vector for each token, and which tokens are words of the text."""
        inputs = self._tokenizer(text, return_tensors="pt", truncation=True, max_length=self._longest)
        hidden = self._model(**inputs, output_hidden_states=True).hidden_states[self._layer][0].float()
        special = {self._tokenizer.cls_token_id, self._tokenizer.sep_token_id}
        words = torch.tensor([token not in special for token in inputs["input_ids"][0].tolist()])
        return torch.nn.functional.normalize(hidden, dim=-1), words
