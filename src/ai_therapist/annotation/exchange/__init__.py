"""Labels out to the tools that people work with, and their answers back in: Label Studio, ELAN, Praat, spreadsheets."""
