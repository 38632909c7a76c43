"""The only place that knows a difference between releases of PEFT and transformers."""
