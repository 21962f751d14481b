"""Chat templates: ChatML for Qwen2 models, the [INST] form for Mistral ones.

Both put the media of a turn first, each tag on its own line, then the text, as VideoLLaMA2 was trained. What a
`generation` block holds is learned: the answer and its end token (for ChatML also the newline behind it).
"""

from transformers import PreTrainedTokenizerBase

_CONTENT = """\
{%- macro content(message) -%}
{%- if message['content'] is string -%}{{ message['content'] }}
{%- else -%}
{%- for part in message['content'] if part['type'] in ('image', 'video', 'audio') -%}
{{ '<' + part['type'] + '>\\n' }}
{%- endfor -%}
{%- for part in message['content'] if part['type'] == 'text' -%}{{ part['text'] }}{%- endfor -%}
{%- endif -%}
{%- endmacro -%}
"""

CHATML = (
    _CONTENT
    + """\
{%- for message in messages -%}
{%- if loop.first and message['role'] != 'system' -%}
{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
{%- endif -%}
{{ '<|im_start|>' + message['role'] + '\\n' }}
{%- if message['role'] == 'assistant' -%}
{%- generation -%}{{ content(message) + '<|im_end|>\\n' }}{%- endgeneration -%}
{%- else -%}{{ content(message) + '<|im_end|>\\n' }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}
"""
)
"""Qwen2's template; without a system message it adds Qwen2's own."""

MISTRAL = (
    _CONTENT
    + """\
{{- bos_token or '' -}}
{%- set turns = namespace(system='') -%}
{%- for message in messages -%}
{%- if message['role'] == 'system' -%}
{%- set turns.system = '<<SYS>>\\n' + content(message) + '\\n<</SYS>>\\n\\n' -%}
{%- elif message['role'] == 'user' -%}
{{ '[INST] ' + turns.system + content(message) + ' [/INST]' }}
{%- set turns.system = '' -%}
{%- else -%}
{%- generation -%}{{ content(message) + eos_token }}{%- endgeneration -%}
{%- endif -%}
{%- endfor -%}
"""
)
"""Mistral's form with LLaMA-2's system block, which stands only where a system message is given."""

LLAMA2_SYSTEM_PROMPT = (
    "You are a helpful, respectful and honest assistant. Always answer as helpfully as possible, while being safe.  "
    "Your answers should not include any harmful, unethical, racist, sexist, toxic, dangerous, or illegal content. "
    "Please ensure that your responses are socially unbiased and positive in nature.\n"
    "If a question does not make any sense, or is not factually coherent, explain why instead of answering something "
    "not correct. If you don't know the answer to a question, please don't share false information."
)
"""The system text the original gives Mistral models at inference (training used none): pass it for their prompts."""


def chat_template_for(tokenizer: PreTrainedTokenizerBase) -> str:
    """The template that fits `tokenizer`: ChatML where it has <|im_start|>, else Mistral's form."""
    return CHATML if "<|im_start|>" in tokenizer.get_vocab() else MISTRAL
