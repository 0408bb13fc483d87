"""Exchange of models with Hugging Face ``transformers``. Nothing else imports ``transformers``."""

from .available import require_transformers

require_transformers()
