"""Who said what when, as a transcript."""
