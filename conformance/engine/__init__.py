"""The search: clause x family -> Verdict, with controls, shrinking and known failures."""
