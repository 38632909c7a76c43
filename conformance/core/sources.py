"""Sources that several clauses cite, beside threads such as ``huggingface/peft#2134``: pages of documentation."""

from __future__ import annotations

STORY = ("huggingface/peft#2134",)
"""What this suite began with: trained well, and ignored by generate."""
PREFIX_TUNING_DOC = "https://huggingface.co/docs/peft/package_reference/prefix_tuning"
PROMPT_TUNING_DOC = "https://huggingface.co/docs/peft/package_reference/prompt_tuning"
PEFT_MODEL_DOC = "https://huggingface.co/docs/peft/package_reference/peft_model"
PROMPTING_DOC = "https://huggingface.co/docs/peft/conceptual_guides/prompting"
DISPATCH_DOC = "https://huggingface.co/docs/accelerate/package_reference/big_modeling"
KV_CACHE_DOC = "https://huggingface.co/docs/transformers/kv_cache"
STRATEGIES_DOC = "https://huggingface.co/docs/transformers/generation_strategies"
PROCESSORS_DOC = "https://huggingface.co/docs/transformers/internal/generation_utils"
GLOSSARY = "https://huggingface.co/docs/transformers/glossary"
COLLATOR_DOC = "https://huggingface.co/docs/transformers/main_classes/data_collator"
DTYPE_DOC = "https://huggingface.co/docs/peft/developer_guides/troubleshooting"
TRAINER_DOC = "https://huggingface.co/docs/transformers/main_classes/trainer"
GENERATION_DOC = "https://huggingface.co/docs/transformers/main_classes/text_generation"
