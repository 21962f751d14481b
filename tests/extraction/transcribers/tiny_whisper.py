"""A tiny random Whisper, converted on this machine as the real ones are. It proves the plumbing and knows no word."""

import json
from pathlib import Path

SPECIALS = ["<|startoftranscript|>", "<|en|>", "<|de|>", "<|translate|>", "<|transcribe|>", "<|startoflm|>"]
SPECIALS += ["<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
TIMES = [f"<|{number * 0.02:.2f}|>" for number in range(1501)]


def make_tiny_whisper(folder: Path) -> Path:
    """A folder with a converted model that hears something in speech; the same on every call."""
    import torch
    from ctranslate2.converters import TransformersConverter
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: number for number, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    # After all text tokens: CTranslate2 takes everything from it on for no text.
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in ("<|endoftext|>", *SPECIALS, *TIMES)])
    end, start = len(letters), len(letters) + 1
    assert tokenizer.token_to_id("<|startoftranscript|>") == start
    source = folder / "source"
    source.mkdir(parents=True)
    tokenizer.save(str(source / "tokenizer.json"))
    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=tokenizer.get_vocab_size(),
        d_model=64,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_target_positions=448,
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        decoder_start_token_id=start,
    )
    model = WhisperForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        decoder_start_token_id=start,
        eos_token_id=end,
        pad_token_id=end,
        bos_token_id=end,
        suppress_tokens=[],
        begin_suppress_tokens=[end],
        alignment_heads=[[1, 0], [1, 1]],
        lang_to_id={"<|en|>": tokenizer.token_to_id("<|en|>"), "<|de|>": tokenizer.token_to_id("<|de|>")},
        no_timestamps_token_id=tokenizer.token_to_id("<|notimestamps|>"),
    )
    model.save_pretrained(source)
    names = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>", "bos_token": "<|endoftext|>"}
    (source / "tokenizer_config.json").write_text(json.dumps(names))
    target = folder / "tiny-random"
    TransformersConverter(str(source), copy_files=["tokenizer.json"]).convert(str(target), quantization="int8")
    return target
