"""`python -m ai_therapist …` does what the command `ai-therapist …` does."""

from ai_therapist.cli import main

if __name__ == "__main__":
    main()
