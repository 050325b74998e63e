"""Training of the reduced SAM2, and fine-tuning of any SAM2 on pictures with masks."""
