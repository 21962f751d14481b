"""Words and tiers in and out of files: pure codecs between the bytes of a format and records, without any disk.

tiers       labelled intervals in named tiers: TextGrid, ELAN
passages    who said what when: WebVTT, SRT, AssemblyAI JSON, WhisperX JSON, RTTM, and tiers as speech
catalogue   every format by name and suffix, and what each of them can hold
"""
