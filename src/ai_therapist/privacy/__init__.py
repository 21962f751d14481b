"""What may be done with a recording. Pure checks on consent records, without input or output."""
