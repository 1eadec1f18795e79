"""The records that everything else passes around: frozen, keyword-only, times always aware."""
