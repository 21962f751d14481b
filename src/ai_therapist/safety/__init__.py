"""What may be said: crisis gate, output gate, helplines, disclosures. Pure; it reads only its own data files."""
